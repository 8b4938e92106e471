/**
 * One update of the masks as a graph: gates drawn anew, the loss, the price of the bottleneck, the
 * pressure towards the sparsity asked for, gradients and the optimiser. λ and the target are inputs.
 */
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { inferShapes } from '../../src/shape/infer.js'
import { addGradients } from '../../src/train/gradients.js'
import { NodeBuilder } from '../../src/train/node-builder.js'
import type { Objective } from '../../src/train/objective.js'
import { adamW, clipNorm } from '../../src/train/optimizer.js'
import type { Teacher } from '../../src/train/teacher.js'
import { COUNT, prepareLoss, RATE } from '../../src/train/training-graph.js'
import { EPSILON } from './bottleneck.js'
import { insertGates, spread } from './gates.js'
import { findMasks, type MaskSet } from './masks.js'
import { addNoiseTable, drawNoise, PLACES } from './noise.js'
import type { VtransOptions } from './options.js'
import { parametersOf, type Resource } from './resource.js'

export const MASKS = 'attnc.masks'
/** Input [2]: λ₁ and λ₂. */
export const PRESSURE = 'attnc.pressure'
/** Input: how sharply the soft count tells units apart now. */
export const SLOPE = 'attnc.slope'
/** Input [units]: zero for units that are gone for good. */
export const KEEP = 'attnc.keep'
/** Input: 1 while masks are noisy and have their price, 0 once it is settled what stays. */
export const OPEN = 'attnc.open'
/** Input: the sparsity that is wanted now. */
export const TARGET = 'attnc.sparsity'
const STATES = ['attnc.momentum', 'attnc.variance'] as const

export interface StepGraph {
  readonly model: Model
  readonly set: MaskSet
  readonly resource: Resource
  /** Sites that draw noise. */
  readonly sites: number
  readonly loss: string
  readonly sparsity: string
  readonly norm: string
  readonly carry: Readonly<Record<string, string>>
  readonly states: readonly string[]
  /** Output of the masks: μ of all units, then log σ². */
  readonly masks: string
}

export interface StepInput {
  readonly objective: Objective
  readonly teacher: Teacher | undefined
  readonly options: VtransOptions
}

export function buildStepGraph(source: Model, input: StepInput): StepGraph {
  const { objective, teacher, options } = input
  const output = source.graph.values.get(objective.output) as Value
  const model = extractSubgraph(source.graph, new Map(), [output])
  const { graph } = model
  const view = readModel(graph)
  const set = findMasks(view, options)
  const resource = parametersOf(view, set.masks)
  const addLoss = prepareLoss(model, objective, teacher)
  return edit(graph, 'attnc.vtrans', (change) => {
    const b = new NodeBuilder(change, inferShapes(graph))
    const head = new NodeBuilder(change, b.shapes, [...graph.nodes()][0])
    const loss = addLoss(b)
    const vector = change.addInput(MASKS, 'float32', [2 * set.size])
    const isOpen = change.addInput(OPEN, 'float32', [])
    const parts = cut(head, vector, isOpen, set)
    const table = addNoiseTable(head, options.seed)
    const places = change.addInput(PLACES, 'int64', ['attnc.sites'])
    const sites = insertGates(b, view, set, (site) => {
      const { gate, deviation } = parts[set.masks.indexOf(site.mask)] as Part
      const noise = drawNoise(site.builder, { table, places, site: site.index }, site.value)
      const spreadDeviation = spread(site, deviation, 0)
      const drawn = site.builder.op('Mul', [noise, spreadDeviation])
      return site.builder.op('Add', [drawn, spread(site, gate, 1)])
    })
    const sparsity = addSparsity(b, parts, resource)
    const total = b.op('Sum', [
      loss,
      b.op('Mul', [addPrice(b, parts, set, options), isOpen]),
      addPressure(b, sparsity),
    ])
    const found = addGradients(change, total, [vector]).get(vector) as Value
    const [clipped, norm] = clipNorm(b, found, 1)
    const states = STATES.map((name) => change.addInput(name, 'float32', [2 * set.size]))
    const next = adamW().update(b, {
      parameters: vector,
      gradient: clipped,
      states,
      rate: change.addInput(RATE, 'float32', []),
      count: change.addInput(COUNT, 'float32', []),
    })
    for (const each of [...graph.outputs]) change.hide(each)
    const carry: Record<string, string> = {}
    for (const [index, from] of [vector, ...states].entries()) {
      const to = next[index] as Value
      change.expose(to)
      carry[to.name] = from.name
    }
    for (const value of [loss, sparsity, norm]) change.expose(value)
    return {
      model,
      set,
      resource,
      sites,
      loss: loss.name,
      sparsity: sparsity.name,
      norm: norm.name,
      carry,
      states: STATES,
      masks: next[0].name,
    }
  })
}

/** Of one mask. */
interface Part {
  readonly mean: Value
  readonly logVariance: Value
  /** What a gate is in the mean, and by how much it varies. */
  readonly gate: Value
  readonly deviation: Value
}

/** The vector cut at its masks. */
function cut(b: NodeBuilder, vector: Value, isOpen: Value, { masks, size }: MaskSet): Part[] {
  const sizes = masks.map((mask) => mask.size)
  const split = (whole: Value, what: string): readonly Value[] =>
    b.outputs(
      'Split',
      [whole, b.ints(...sizes)],
      masks.map((_, index) => `attnc.${what}${index}`),
      { axis: 0 },
    )
  const keep = b.edit.addInput(KEEP, 'float32', [size])
  const [mean, logVariance] = b.outputs(
    'Split',
    [vector, b.ints(size, size)],
    ['mean', 'variance'],
    {
      axis: 0,
    },
  ) as [Value, Value]
  const half = b.op('Mul', [logVariance, b.number(0.5, 'float32')])
  const deviation = b.op('Mul', [b.op('Exp', [half]), isOpen])
  const means = split(mean, 'mean')
  const logVariances = split(logVariance, 'variance')
  const gates = split(b.op('Mul', [mean, keep]), 'gate')
  const deviations = split(deviation, 'deviation')
  return masks.map((_, index) => ({
    mean: means[index] as Value,
    logVariance: logVariances[index] as Value,
    gate: gates[index] as Value,
    deviation: deviations[index] as Value,
  }))
}

/** 1 − R/P, with the soft counts of all masks. */
function addSparsity(b: NodeBuilder, parts: readonly Part[], { terms, total }: Resource): Value {
  const slope = b.op('Neg', [b.edit.addInput(SLOPE, 'float32', [])])
  const counts = parts.map(({ mean, logVariance }) => {
    const squares = b.op('Add', [b.op('Mul', [mean, mean]), b.number(EPSILON, 'float32')])
    const logAlpha = b.op('Sub', [logVariance, b.op('Log', [squares])])
    const keep = b.op('Sigmoid', [b.op('Mul', [logAlpha, slope])])
    return b.op('ReduceSum', [keep], { keepdims: 1 })
  })
  // One more that is always 1, for terms with fewer masks than others.
  const all = b.op('Concat', [...counts, b.edit.constant(float32Tensor([1], [1]))], { axis: 0 })
  const depth = Math.max(1, ...terms.map(({ masks }) => masks.length))
  const factors = b.edit.constant(
    float32Tensor(
      [terms.length],
      terms.map(({ factor }) => factor / total),
    ),
  )
  let product = factors
  for (let at = 0; at < depth; at++) {
    const index = terms.map(({ masks }) => masks[at] ?? parts.length)
    product = b.op('Mul', [product, b.op('Gather', [all, b.ints(...index)], { axis: 0 })])
  }
  return b.op('Sub', [b.number(1, 'float32'), b.op('ReduceSum', [product], { keepdims: 0 })])
}

/** The bottleneck, each unit by what it stands for, scaled to the option at the start. */
function addPrice(
  b: NodeBuilder,
  parts: readonly Part[],
  { masks }: MaskSet,
  { bottleneck, noise }: VtransOptions,
): Value {
  const weights = masks.map(
    ({ dimension }) => dimension.parametersPerMember * dimension.granularity,
  )
  const first = 0.5 * Math.log(1 + 1 / Math.exp(noise))
  const start = masks.reduce((sum, { size }, i) => sum + size * (weights[i] as number) * first, 0)
  const prices = parts.map(({ mean, logVariance }, index) => {
    const variance = b.op('Add', [b.op('Exp', [logVariance]), b.number(EPSILON, 'float32')])
    const ratio = b.op('Div', [b.op('Mul', [mean, mean]), variance])
    const log = b.op('Log', [b.op('Add', [ratio, b.number(1, 'float32')])])
    const share = (0.5 * bottleneck * (weights[index] as number)) / start
    return b.op('Mul', [b.op('ReduceSum', [log], { keepdims: 0 }), b.number(share, 'float32')])
  })
  return b.op('Sum', prices)
}

/** λ₁(s − t) + λ₂(s − t)². */
function addPressure(b: NodeBuilder, sparsity: Value): Value {
  const multipliers = b.edit.addInput(PRESSURE, 'float32', [2])
  const target = b.edit.addInput(TARGET, 'float32', [])
  const gap = b.op('Sub', [sparsity, target])
  const powers = b.op('Mul', [
    b.op(
      'Concat',
      [b.op('Reshape', [gap, b.ints(1)]), b.op('Reshape', [b.op('Mul', [gap, gap]), b.ints(1)])],
      { axis: 0 },
    ),
    multipliers,
  ])
  return b.op('ReduceSum', [powers], { keepdims: 0 })
}
