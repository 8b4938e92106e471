/** Attention over the edges of a graph: read as attention, and sliced like masked. */
import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { inspect } from '../../src/inspect/inspect.js'
import { readModel } from '../../src/model/model.js'
import { bytesOf, canLose, compareModels, randomKeep, rewritten, runModel } from '../zoo/compare.js'
import type { Builder } from './builder.js'
import {
  additive,
  bentFirst,
  C,
  clipped,
  D,
  doubted,
  flat,
  type Graph,
  graphModel,
  H,
  hear,
  type Layer,
  pick,
  products,
  randomGraph,
  type Spelling,
} from './edge-models.js'

const layers: Readonly<Record<string, Layer>> = { products, additive, bentFirst, doubted, clipped }

const spellings: Readonly<Record<string, Spelling>> = {
  'sums by elements, a maximum taken off': {},
  'sums by rows, a minimum over everything taken off': { isND: true, shift: 'minimum' },
  'divided at the nodes': { norm: 'nodes', shift: 'none' },
}

/** What stands between two layers: the context [nodes, H, D] → the next layer's x, and how wide that is. */
type Between = (
  b: Builder,
  graph: Graph,
  context: Value,
  width: number,
) => { readonly x: Value; readonly width: number }

const residual = (b: Builder, x: Value, said: Value): Value => b.op('Add', [x, said])

const betweens: Readonly<Record<string, Between>> = {
  nothing: (b, _, context) => ({ x: b.op('Elu', [flat(b, context)]), width: H * D }),
  'a weight of the target': (b, { x }, context, width) => ({
    x: b.op('Relu', [b.op('Add', [flat(b, context), b.linear(x, width, H * D)])]),
    width: H * D,
  }),
  'a gate between both': (b, { x }, context, width) => {
    const said = flat(b, context)
    const own = b.linear(x, width, H * D)
    const all = b.op('Concat', [said, own, b.op('Sub', [said, own])], { axis: -1 })
    const gate = b.op('Sigmoid', [b.op('MatMul', [all, b.weight(3 * H * D, 1)])])
    const rest = b.op('Sub', [b.scalar(1), gate])
    const mixed = b.op('Add', [b.op('Mul', [gate, own]), b.op('Mul', [rest, said])])
    return { x: mixed, width: H * D }
  },
  'a stream under a norm': (b, { x }, context) => {
    const sum = residual(b, x, b.op('Add', [flat(b, context), b.weight(C)]))
    return { x: b.op('LayerNormalization', [sum, b.weight(C), b.weight(C)]), width: C }
  },
  'a stream and a feed-forward': (b, { x }, context) => {
    const sum = residual(b, x, flat(b, context))
    const batch = [b.filled(1, C), b.filled(0, C), b.filled(0.1, C), b.filled(2, C)]
    const normed = b.op('BatchNormalization', [sum, ...batch])
    const inner = b.op('Relu', [b.linear(normed, C, 20)])
    return { x: residual(b, normed, b.linear(inner, 20, C)), width: C }
  },
  'a weight of the heads': (b, { x }, context) => ({
    x: residual(b, x, b.linear(flat(b, context), H * D, C)),
    width: C,
  }),
  'their mean': (b, { x }, context) => ({
    x: residual(
      b,
      b.linear(x, C, D),
      b.op('ReduceMean', [context, b.integers(1)], { keepdims: 0 }),
    ),
    width: D,
  }),
}

/** Two layers and an answer for every node. */
const model = (layer: Layer, between: Between, spelling: Spelling): Model =>
  graphModel((b, graph) => {
    const first = between(b, graph, layer(b, graph, C, spelling), C)
    const inner = { ...graph, x: first.x }
    const second = flat(b, layer(b, inner, first.width, spelling))
    return b.linear(second, H * D, 2)
  })

const feeds = [randomGraph(9, 24, 1), randomGraph(4, 3, 2)]

describe('attention over edges', { timeout: 120_000 }, () => {
  const table = Object.keys(layers).flatMap((layer) =>
    Object.keys(spellings).flatMap((spelling) =>
      Object.keys(betweens).map((between) => [layer, between, spelling] as const),
    ),
  )
  it.each(table)('%s, then %s, %s: heads that can go', async (layer, between, spelling) => {
    const make = () =>
      model(layers[layer] as Layer, betweens[between] as Between, spellings[spelling] as Spelling)
    const view = readModel(make().graph)
    expect(
      view.attention.map(({ kind, over, heads, keyValueHeads, headSize, valueHeadSize }) => [
        ...[kind, over, heads, keyValueHeads, headSize, valueHeadSize],
      ]),
    ).toEqual([
      ['self', 'edges', H, H, D, D],
      ['self', 'edges', H, H, D, D],
    ])
    const heads = view.dimensions.filter(({ role }) => role === 'keyValueHeads')
    expect(heads.map((each) => [each.id, canLose(each)])).toEqual([
      ['layer.0.keyValueHeads', true],
      ['layer.1.keyValueHeads', true],
    ])
    const some = new Map(heads.map(({ id }, index) => [id, index === 0 ? [0, 2] : [1]]))
    expect(await compareModels(make, feeds, some)).toBeLessThanOrEqual(1e-5)
    const random = generator(
      table.findIndex((row) => row.join() === [layer, between, spelling].join()),
    )
    const all = new Map(
      view.dimensions.filter(canLose).map((each) => [each.id, randomKeep(each, random)]),
    )
    expect(await compareModels(make, feeds, all)).toBeLessThanOrEqual(1e-5)
  })

  it('is cut twice as it is cut once', async () => {
    for (const name of ['a stream under a norm', 'their mean', 'nothing']) {
      const make = () => model(products, betweens[name] as Between, {})
      const once = rewritten(make(), new Map([['layer.0.keyValueHeads', [1]]]), 'slice')
      const twice = rewritten(make(), new Map([['layer.0.keyValueHeads', [0, 1]]]), 'slice')
      rewritten(twice, new Map([['layer.0.keyValueHeads', [1]]]), 'slice')
      const [one, other] = [await runModel(once, feeds), await runModel(twice, feeds)]
      for (const [index, results] of one.entries())
        for (const [output, { data }] of Object.entries(results))
          expect(Array.from(data as Float32Array)).toEqual(
            Array.from(other[index]?.[output]?.data as Float32Array).map((each) =>
              expect.closeTo(each, 5),
            ),
          )
    }
  })

  it('stays byte for byte where nothing goes', () => {
    for (const between of Object.values(betweens)) {
      const make = () => model(products, between, {})
      const all = new Map(
        readModel(make().graph).dimensions.map(({ id, size }) => [
          id,
          Array.from({ length: size }, (_, member) => member),
        ]),
      )
      expect(bytesOf(rewritten(make(), all, 'slice'))).toEqual(bytesOf(make()))
    }
  })

  it('has heads of its own in each layer, though layers share zeros and targets', async () => {
    const make = () =>
      graphModel((b, graph) => {
        const rows = b.op('Slice', [
          b.op('Shape', [graph.x]),
          b.integers(0),
          b.integers(1),
          b.integers(0),
        ])
        const zeros = b.op('ConstantOfShape', [
          b.op('Concat', [rows, b.integers(H, D)], { axis: 0 }),
        ])
        const few = b.op('ConstantOfShape', [b.op('Concat', [rows, b.integers(H)], { axis: 0 })])
        const edges = b.op('Shape', [graph.target])
        const wide = b.op('Expand', [
          b.reshape(graph.target, -1, 1, 1),
          b.op('Concat', [edges, b.integers(H, D)], { axis: 0 }),
        ])
        const narrow = b.op('Expand', [
          b.reshape(graph.target, -1, 1),
          b.op('Concat', [edges, b.integers(H)], { axis: 0 }),
        ])
        const low = b.op('Expand', [b.scalar(-1e30), b.op('Shape', [narrow])])
        const lowest = b.op('ScatterElements', [few, narrow, low], { axis: 0, reduction: 'min' })
        const layer = (x: Value): Value => {
          const [q, k, v] = [0, 1, 2].map(() => b.reshape(b.linear(x, C, H * D), -1, H, D)) as [
            Value,
            Value,
            Value,
          ]
          const pair = b.op('Mul', [pick(b, q, graph.target), pick(b, k, graph.source)])
          const raw = b.op('ReduceSum', [pair, b.integers(-1)], { keepdims: 0 })
          const most = b.op('ScatterElements', [lowest, narrow, raw], { axis: 0, reduction: 'max' })
          const scores = b.op('Exp', [b.op('Sub', [raw, pick(b, most, graph.target)])])
          const settings = { axis: 0, reduction: 'add' }
          const total = b.op('ScatterElements', [few, narrow, scores], settings)
          const normed = b.op('Div', [scores, pick(b, total, graph.target)])
          const message = b.op('Mul', [
            pick(b, v, graph.source),
            b.op('Unsqueeze', [normed, b.integers(-1)]),
          ])
          const said = b.op('ScatterElements', [zeros, wide, message], settings)
          return b.op('LayerNormalization', [b.op('Add', [x, flat(b, said)]), b.weight(C)])
        }
        return layer(layer(graph.x))
      })
    const heads = readModel(make().graph).dimensions.filter(({ role }) => role === 'keyValueHeads')
    expect(heads.map((each) => [each.id, canLose(each)])).toEqual([
      ['layer.0.keyValueHeads', true],
      ['layer.1.keyValueHeads', true],
    ])
    const choice = new Map([
      ['layer.0.keyValueHeads', [2]],
      ['layer.1.keyValueHeads', [0, 1]],
    ])
    expect(await compareModels(make, feeds, choice)).toBeLessThanOrEqual(1e-5)
    // Cut alike they share what is left of both, and stay apart.
    const alike = () => rewritten(make(), new Map(heads.map(({ id }) => [id, [0, 2]])), 'slice')
    const again = readModel(alike().graph).dimensions.filter(({ role }) => role === 'keyValueHeads')
    expect(again.map(({ id }) => id)).toEqual(heads.map(({ id }) => id))
    expect(
      await compareModels(alike, feeds, new Map([['layer.1.keyValueHeads', [1]]])),
    ).toBeLessThanOrEqual(1e-5)
  })

  it('is told apart from attention over all tokens', async () => {
    const found = await inspect(model(additive, betweens['nothing'] as Between, {}))
    expect(
      found.attention.map(({ kind, over, causal, prunable }) => [kind, over, causal, prunable]),
    ).toEqual([
      ['self', 'edges', false, true],
      ['self', 'edges', false, true],
    ])
  })
})

describe('what is no attention over edges', () => {
  const heads = (b: Builder, x: Value): Value =>
    b.reshape(b.op('MatMul', [x, b.weight(C, H * D)]), -1, H, D)
  const scored = (b: Builder, rows: Value): Value =>
    b.op('ReduceSum', [b.op('Mul', [rows, b.weight(1, H, D)]), b.integers(-1)], { keepdims: 0 })

  const others: Readonly<Record<string, (b: Builder, graph: Graph) => Value>> = {
    'a score of the source alone, which pools': (b, graph) => {
      const x = pick(b, heads(b, graph.x), graph.source)
      return hear(b, graph, scored(b, x), x, [H, D], {})
    },
    'weights that are not normed': (b, graph) => {
      const x = heads(b, graph.x)
      const both = b.op('Add', [
        pick(b, scored(b, x), graph.source),
        pick(b, scored(b, x), graph.target),
      ])
      const wide = b.op('Unsqueeze', [b.op('Sigmoid', [both]), b.integers(-1)])
      const message = b.op('Mul', [wide, pick(b, x, graph.source)])
      const rows = b.op('Unsqueeze', [graph.target, b.integers(-1)])
      const zeros = b.op('Mul', [x, b.scalar(0)])
      return b.op('ScatterND', [zeros, rows, message], { reduction: 'add' })
    },
    'weights normed over the edges of another end': (b, graph) => {
      const x = heads(b, graph.x)
      const both = b.op('Add', [
        pick(b, scored(b, x), graph.source),
        pick(b, scored(b, x), graph.target),
      ])
      const raw = b.op('Exp', [both])
      const zeros = b.op('Mul', [scored(b, x), b.scalar(0)])
      const at = (ends: Value): Value => b.op('Unsqueeze', [ends, b.integers(-1)])
      const total = b.op('ScatterND', [zeros, at(graph.source), raw], { reduction: 'add' })
      const normed = b.op('Div', [raw, pick(b, total, graph.source)])
      const message = b.op('Mul', [at(normed), pick(b, x, graph.source)])
      const none = b.op('Mul', [x, b.scalar(0)])
      return b.op('ScatterND', [none, at(graph.target), message], { reduction: 'add' })
    },
  }
  it.each(Object.keys(others))('%s', (name) => {
    const made = graphModel((b, graph) =>
      b.linear(flat(b, (others[name] as (typeof others)[string])(b, graph)), H * D, 2),
    )
    expect(readModel(made.graph).attention).toEqual([])
  })

  it('a minimum that somebody else reads ties heads together', () => {
    const made = graphModel((b, graph) => {
      const x = heads(b, graph.x)
      const both = b.op('Add', [
        pick(b, scored(b, x), graph.source),
        pick(b, scored(b, x), graph.target),
      ])
      const least = b.op('ReduceMin', [both], { keepdims: 0 })
      const raw = b.op('Sub', [both, least])
      const said = hear(b, graph, raw, pick(b, x, graph.source), [H, D], {})
      return b.op('Add', [b.linear(flat(b, said), H * D, 2), least])
    })
    const view = readModel(made.graph)
    expect(view.attention.map(({ over }) => over)).toEqual(['edges'])
    const [found] = view.dimensions.filter(({ role }) => role === 'keyValueHeads')
    expect([found?.sliceable, found?.reasons[0]?.text]).toEqual([
      false,
      'a minimum is taken over it',
    ])
  })
})
