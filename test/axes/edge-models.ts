/** Layers of attention over the edges of a graph, written as exporters write them; sizes are open. */

import { generator } from '../../src/data/generator.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { type Builder, build } from './builder.js'

// C hidden, H heads, D head size, F features of an edge
export const [C, H, D, F]: readonly [number, number, number, number] = [12, 3, 4, 5]

export interface Graph {
  /** [nodes, C] */
  readonly x: Value
  /** [edges] */
  readonly source: Value
  readonly target: Value
  /** [edges, F] */
  readonly features: Value
}

export interface Spelling {
  /** Sums by ScatterND rather than ScatterElements. */
  readonly isND?: boolean
  /**
   * What is taken off before exp: a maximum over the edges of a target, of which a minimum over
   * everything, or nothing.
   */
  readonly shift?: 'maximum' | 'minimum' | 'none'
  /** Where weights are divided by their sum. */
  readonly norm?: 'edges' | 'nodes'
}

const number = (b: Builder, value: Value, axis: number): Value =>
  b.op('Slice', [b.op('Shape', [value]), b.integers(axis), b.integers(axis + 1), b.integers(0)])

const ofShape = (b: Builder, ...parts: readonly Value[]): Value =>
  b.op('ConstantOfShape', [b.op('Concat', parts, { axis: 0 })])

/** Rows of nodes at one end of every edge. */
export const pick = (b: Builder, rows: Value, ends: Value): Value => b.op('Gather', [rows, ends])

/** Rows of edges put together at their targets: [edges, ...sizes] → [nodes, ...sizes]. */
export function gathered(
  b: Builder,
  { x, target }: Graph,
  rows: Value,
  sizes: readonly number[],
  { isND = false }: Spelling,
  reduction = 'add',
  start?: Value,
): Value {
  const zeros = start ?? ofShape(b, number(b, x, 0), b.integers(...sizes))
  const ones = sizes.map(() => 1)
  if (isND)
    return b.op('ScatterND', [zeros, b.op('Unsqueeze', [target, b.integers(-1)]), rows], {
      reduction,
    })
  const index = b.op('Expand', [b.reshape(target, -1, ...ones), b.op('Shape', [rows])])
  return b.op('ScatterElements', [zeros, index, rows], { axis: 0, reduction })
}

/** exp(scores) by the sum over the edges of each target: weights [edges, heads, 1] and what they are divided by. */
function exponents(b: Builder, graph: Graph, scores: Value, heads: number, spelling: Spelling) {
  const { shift = 'maximum' } = spelling
  if (shift === 'none') return b.op('Exp', [scores])
  const least =
    shift === 'minimum'
      ? b.op('Expand', [
          b.op('ReduceMin', [scores], { keepdims: 0 }),
          b.op('Concat', [number(b, graph.x, 0), b.integers(heads)], { axis: 0 }),
        ])
      : undefined
  const most = gathered(b, graph, scores, [heads], spelling, 'max', least)
  return b.op('Exp', [b.op('Sub', [scores, pick(b, most, graph.target)])])
}

/** What targets hear: [nodes, heads, size]. */
export function hear(
  b: Builder,
  graph: Graph,
  scores: Value,
  values: Value,
  [heads, size]: readonly [number, number],
  spelling: Spelling,
): Value {
  const weights = exponents(b, graph, scores, heads, spelling)
  const total = b.op('Add', [gathered(b, graph, weights, [heads], spelling), b.scalar(1e-16)])
  const wide = (value: Value): Value => b.op('Unsqueeze', [value, b.integers(-1)])
  if (spelling.norm === 'nodes') {
    const message = b.op('Mul', [values, wide(weights)])
    const floor = b.op('Max', [total, b.scalar(1e-12)])
    return b.op('Div', [gathered(b, graph, message, [heads, size], spelling), wide(floor)])
  }
  const normed = b.op('Div', [weights, pick(b, total, graph.target)])
  return gathered(b, graph, b.op('Mul', [wide(normed), values]), [heads, size], spelling)
}

const toHeads = (b: Builder, value: Value, size = D): Value => b.reshape(value, -1, H, size)

const summed = (b: Builder, value: Value): Value =>
  b.op('ReduceSum', [value, b.integers(-1)], { keepdims: 0 })

/** A layer's context [nodes, H, size], by scores of one of the usual kinds. */
export type Layer = (
  b: Builder,
  graph: Graph,
  width: number,
  spelling: Spelling,
  size?: number,
) => Value

/** q·(k + e) and v + e, as TransformerConv. */
export const products: Layer = (b, graph, width, spelling, size = D) => {
  const [q, k, v] = [0, 1, 2].map(() => toHeads(b, b.linear(graph.x, width, H * size), size))
  const e = toHeads(b, b.op('MatMul', [graph.features, b.weight(F, H * size)]), size)
  const keys = b.op('Add', [pick(b, k as Value, graph.source), e])
  const scores = b.op('Mul', [pick(b, q as Value, graph.target), keys])
  const values = b.op('Add', [pick(b, v as Value, graph.source), e])
  const scaled = b.op('Div', [summed(b, scores), b.scalar(2)])
  return hear(b, graph, scaled, values, [H, size], spelling)
}

/** a·x at both ends, bent after they are added, as GATConv. */
export const additive: Layer = (b, graph, width, spelling, size = D) => {
  const x = toHeads(b, b.op('MatMul', [graph.x, b.weight(width, H * size)]), size)
  const score = (): Value => summed(b, b.op('Mul', [x, b.weight(1, H, size)]))
  const both = b.op('Add', [pick(b, score(), graph.source), pick(b, score(), graph.target)])
  const scores = b.op('LeakyRelu', [both])
  return hear(b, graph, scores, pick(b, x, graph.source), [H, size], spelling)
}

/** a·bend(l + r + e), as GATv2Conv. */
export const bentFirst: Layer = (b, graph, width, spelling, size = D) => {
  const [l, r] = [0, 1].map(() => toHeads(b, b.linear(graph.x, width, H * size), size))
  const e = toHeads(b, b.op('MatMul', [graph.features, b.weight(F, H * size)]), size)
  const values = pick(b, l as Value, graph.source)
  const all = b.op('Add', [b.op('Add', [values, pick(b, r as Value, graph.target)]), e])
  const scores = summed(b, b.op('Mul', [b.op('LeakyRelu', [all]), b.weight(1, H, size)]))
  return hear(b, graph, scores, values, [H, size], spelling)
}

/** a·x at both ends, doubted by the likelihood of the edge itself, as SuperGATConv. */
export const doubted: Layer = (b, graph, width, spelling, size = D) => {
  const x = toHeads(b, b.op('MatMul', [graph.x, b.weight(width, H * size)]), size)
  const [source, target] = [pick(b, x, graph.source), pick(b, x, graph.target)]
  const score = (ends: Value): Value => summed(b, b.op('Mul', [ends, b.weight(1, H, size)]))
  const logits = summed(b, b.op('Mul', [source, target]))
  const sum = b.op('Add', [score(source), score(target)])
  const scores = b.op('LeakyRelu', [b.op('Mul', [sum, b.op('Sigmoid', [logits])])])
  return hear(b, graph, scores, source, [H, size], spelling)
}

/** Σ(q·k·e) clipped, with values that features don't reach, as graph transformers of the DGL kind. */
export const clipped: Layer = (b, graph, width, spelling, size = D) => {
  const [q, k, v] = [0, 1, 2].map(() =>
    toHeads(b, b.op('MatMul', [graph.x, b.weight(width, H * size)]), size),
  )
  const e = toHeads(b, b.op('MatMul', [graph.features, b.weight(F, H * size)]), size)
  const pair = b.op('Mul', [pick(b, k as Value, graph.source), pick(b, q as Value, graph.target)])
  const scores = b.op('Clip', [summed(b, b.op('Mul', [pair, e])), b.scalar(-5), b.scalar(5)])
  const values = pick(b, v as Value, graph.source)
  return hear(b, graph, scores, values, [H, size], { shift: 'none', norm: 'nodes', ...spelling })
}

export const flat = (b: Builder, context: Value, size = D): Value =>
  b.reshape(context, -1, H * size)

/** A model of nodes [n, C] and edges [2, e] with features [e, F], and an answer of two numbers for each row. */
export function graphModel(write: (b: Builder, graph: Graph) => Value): Model {
  const model = build((b) => {
    const x = b.input('x', ['nodes', C])
    const ends = b.input('edges', [2, 'edges'], 'int64')
    const features = b.input('features', ['edges', F])
    return write(b, { x, source: b.pick(ends, 0, 0), target: b.pick(ends, 0, 1), features })
  })
  edit(model.graph, 'answer', (change) => {
    for (const output of model.graph.outputs)
      change.setType(output, { dataType: 'float32', dims: [undefined, 2] })
  })
  return model
}

/** A graph drawn by chance: some nodes have no edge, some edges lead from a node to itself. */
export function randomGraph(
  nodes: number,
  edges: number,
  seed: number,
): Record<'x' | 'edges' | 'features', RuntimeTensor> {
  const next = generator(seed)
  const draw = (count: number, make: () => number): number[] => Array.from({ length: count }, make)
  const real = (): number => 2 * next() - 1
  const end = (): number => Math.floor(next() * nodes)
  return {
    x: tensorOf('float32', [nodes, C], draw(nodes * C, real)),
    edges: tensorOf('int64', [2, edges], draw(2 * edges, end)),
    features: tensorOf('float32', [edges, F], draw(edges * F, real)),
  }
}
