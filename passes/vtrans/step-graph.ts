/**
 * One update of the masks as a graph: gates drawn anew, the loss, the price of the bottleneck, the
 * pressure towards the sparsity asked for, gradients and the optimiser. λ and the target are inputs.
 */
import type { Axis } from '../../src/axes/axis.js'
import { maskNorms } from '../../src/axes/masked-norm.js'
import { membersAlong } from '../../src/axes/members.js'
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { takeFirstBranches } from '../../src/rewrite/first-branch.js'
import type { Feeds } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { fixSizes } from '../../src/train/fix-sizes.js'
import { addGradients, type Recomputation } from '../../src/train/gradients.js'
import { NodeBuilder } from '../../src/train/node-builder.js'
import type { Objective } from '../../src/train/objective.js'
import { adamW, clipNorm } from '../../src/train/optimizer.js'
import { knownOf, prepareLoss } from '../../src/train/step-loss.js'
import type { Teacher } from '../../src/train/teacher.js'
import { COUNT, RATE } from '../../src/train/training-graph.js'
import { EPSILON } from './bottleneck.js'
import { type GateSite, insertGates, spread, unitOf } from './gates.js'
import { findMasks, type MaskSet } from './masks.js'
import { addNoiseTable, drawNoise, PLACES } from './noise.js'
import type { VtransOptions } from './options.js'
import type { Knot, Resource } from './resource.js'

export const MASKS = 'attnc.masks'
/** Input [2]: λ₁ and λ₂. */
export const PRESSURE = 'attnc.pressure'
/** Input: how sharply the soft count tells units apart now. */
export const SLOPE = 'attnc.slope'
/** Input: the sparsity that is wanted now. */
export const TARGET = 'attnc.sparsity'
const STATES = ['attnc.momentum', 'attnc.variance'] as const

export interface StepGraph {
  readonly model: Model
  readonly set: MaskSet
  /** Sites that draw noise. */
  readonly sites: number
  readonly loss: string
  /** The soft count, while masks are noisy. */
  readonly sparsity: string | undefined
  readonly norm: string
  readonly carry: Readonly<Record<string, string>>
  readonly states: readonly string[]
  /** Output of the masks: μ of all units, and while they are noisy then log σ². */
  readonly masks: string
  /** Numbers of that vector. */
  readonly length: number
}

export interface StepInput {
  readonly objective: Objective
  readonly teacher: Teacher | undefined
  readonly options: VtransOptions
  /** What is to be saved; of the same masks in the same order. */
  readonly resources: readonly Resource[]
  /**
   * [units], zeros and ones: once it is settled what stays, means alone are learned, without noise, price and
   * pressure; a channel of the stream that stays is 1, as embeddings that are tied can take no factor in.
   */
  readonly settled?: Float32Array | undefined
  readonly recompute?: Recomputation | undefined
  /** Batches of which all have these sizes. */
  readonly feeds?: Feeds | undefined
}

export function buildStepGraph(source: Model, input: StepInput): StepGraph {
  const { objective, teacher, options, resources, recompute, settled } = input
  const output = source.graph.values.get(objective.output) as Value
  const model = extractSubgraph(source.graph, new Map(), [output])
  const { graph } = model
  edit(graph, 'attnc.vtrans', takeFirstBranches)
  const view = readModel(graph)
  const set = findMasks(view, options)
  const length = settled ? set.size : 2 * set.size
  const addLoss = prepareLoss(model, objective, teacher)
  return edit(graph, 'attnc.vtrans', (change) => {
    const b = new NodeBuilder(change, inferShapes(graph))
    const head = new NodeBuilder(change, b.shapes, [...graph.nodes()][0])
    const stepLoss = addLoss(b)
    const { loss, walked } = stepLoss
    const vector = change.addInput(MASKS, 'float32', [length])
    const parts = settled ? cutSettled(head, vector, set, settled) : cutNoisy(head, vector, set)
    const draw = settled ? undefined : noiseOf(head, options)
    const sites = insertGates(b, view, set, (site) => {
      const { gate, deviation } = parts[set.masks.indexOf(site.mask)] as Part
      const own = spread(site, gate, 1)
      if (!draw || !deviation) return own
      const drawn = site.builder.op('Mul', [draw.of(site), spread(site, deviation, 0)])
      return site.builder.op('Add', [drawn, own])
    })
    if (draw) change.setType(draw.places, { dataType: 'int64', dims: [sites] })
    if (input.feeds) fixSizes(change, input.feeds)
    maskNorms(change, view.analysis, (axis, _, node) =>
      keptAlong(new NodeBuilder(change, b.shapes, node), axis, parts, set),
    )
    const sparsity = settled ? undefined : addSparsity(b, parts, resources)
    const priced = sparsity && [addPrice(b, parts, set, options), addPressure(b, sparsity)]
    const total = priced ? b.op('Sum', [...(walked ? [walked] : []), ...priced]) : walked
    const found = addGradients(change, total, [vector], {
      recompute,
      known: knownOf(stepLoss),
    }).get(vector) as Value
    const [clipped, norm] = clipNorm(b, found, 1)
    const states = STATES.map((name) => change.addInput(name, 'float32', [length]))
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
    for (const value of [loss, norm, ...(sparsity ? [sparsity] : [])]) change.expose(value)
    return {
      model,
      set,
      sites: draw ? sites : 0,
      loss: loss.name,
      sparsity: sparsity?.name,
      norm: norm.name,
      carry,
      states: STATES,
      masks: next[0].name,
      length,
    }
  })
}

function noiseOf(head: NodeBuilder, { seed }: VtransOptions) {
  const table = addNoiseTable(head, seed)
  const places = head.edit.addInput(PLACES, 'int64', ['attnc.sites'])
  const of = ({ builder, index, value }: GateSite): Value =>
    drawNoise(builder, { table, places, site: index }, value)
  return { places, of }
}

/** Of one mask. */
interface Part {
  /** What a gate is in the mean, and by how much it varies. */
  readonly gate: Value
  readonly deviation?: Value
  readonly logVariance?: Value
  /** Zeros and ones. */
  readonly kept: Value
}

/** A vector cut at the masks. */
function split(b: NodeBuilder, whole: Value, { masks }: MaskSet, what: string): readonly Value[] {
  const names = masks.map((_, index) => `attnc.${what}${index}`)
  return b.outputs('Split', [whole, b.ints(...masks.map(({ size }) => size))], names, { axis: 0 })
}

function cutNoisy(b: NodeBuilder, vector: Value, set: MaskSet): Part[] {
  const sizes = b.ints(set.size, set.size)
  const halves = b.outputs('Split', [vector, sizes], ['mean', 'variance'], { axis: 0 })
  const [mean, logVariance] = halves as [Value, Value]
  const deviation = b.op('Exp', [b.op('Mul', [logVariance, b.number(0.5, 'float32')])])
  const isSure = b.op('Less', [logAlphaOf(b, mean, logVariance), b.number(0, 'float32')])
  const gates = split(b, mean, set, 'gate')
  const deviations = split(b, deviation, set, 'deviation')
  const logVariances = split(b, logVariance, set, 'variance')
  const kept = split(b, b.cast(isSure, 'float32'), set, 'kept')
  return set.masks.map((_, index) => ({
    gate: gates[index] as Value,
    deviation: deviations[index] as Value,
    logVariance: logVariances[index] as Value,
    kept: kept[index] as Value,
  }))
}

function cutSettled(b: NodeBuilder, vector: Value, set: MaskSet, settled: Float32Array): Part[] {
  const isChannel = set.masks.flatMap(({ size, dimension }) =>
    Array<number>(size).fill(Number(dimension.role === 'hidden')),
  )
  const channels = vectorOf(b, isChannel)
  const own = b.op('Mul', [
    vector,
    vectorOf(
      b,
      isChannel.map((each) => 1 - each),
    ),
  ])
  const keep = b.edit.constant(float32Tensor([set.size], settled))
  const gates = split(b, b.op('Mul', [b.op('Add', [own, channels]), keep]), set, 'gate')
  const kept = split(b, keep, set, 'kept')
  return set.masks.map((_, index) => ({ gate: gates[index] as Value, kept: kept[index] as Value }))
}

/** log σ² − log μ². */
function logAlphaOf(b: NodeBuilder, mean: Value, logVariance: Value | undefined): Value {
  const squares = b.op('Add', [b.op('Mul', [mean, mean]), b.number(EPSILON, 'float32')])
  return b.op('Sub', [logVariance, b.op('Log', [squares])])
}

/** Which members of an axis that is normed are kept now. */
function keptAlong(
  b: NodeBuilder,
  axis: Axis,
  parts: readonly Part[],
  { masks }: MaskSet,
): Value | undefined {
  const factors = masks.flatMap((mask, index) =>
    membersAlong(axis, mask.dimension.axis).map((members) => {
      const units = members.map((member) => unitOf(mask, member))
      return spread({ builder: b, mask, units, trailing: 0 }, (parts[index] as Part).kept, 1)
    }),
  )
  return factors.reduce<Value | undefined>(
    (product, factor) => (product ? b.op('Mul', [product, factor]) : factor),
    undefined,
  )
}

/** 1 − R/P, with the soft counts of all masks; of several resources that of which the least is saved. */
function addSparsity(
  b: NodeBuilder,
  parts: readonly Part[],
  resources: readonly Resource[],
): Value {
  const slope = b.op('Neg', [b.edit.addInput(SLOPE, 'float32', [])])
  const counts = parts.map(({ gate, logVariance }) => {
    const keep = b.op('Sigmoid', [b.op('Mul', [logAlphaOf(b, gate, logVariance), slope])])
    return b.op('ReduceSum', [keep], { keepdims: 1 })
  })
  const shares = resources.map((resource) => {
    const spent = [addTerms(b, counts, resource), ...addCurves(b, counts, resource)]
    return spent.length === 1 ? (spent[0] as Value) : b.op('Sum', spent)
  })
  const share = shares.length === 1 ? shares[0] : b.op('Max', shares)
  return b.op('Sub', [b.number(1, 'float32'), share])
}

/** Σ factor · count · count … / P */
function addTerms(b: NodeBuilder, counts: readonly Value[], { terms, total }: Resource): Value {
  // One more that is always 1, for terms with fewer masks than others.
  const all = b.op('Concat', [...counts, vectorOf(b, [1])], { axis: 0 })
  const depth = Math.max(0, ...terms.map(({ masks }) => masks.length))
  let product = vectorOf(
    b,
    terms.map(({ factor }) => factor / total),
  )
  for (let at = 0; at < depth; at++) {
    const index = terms.map(({ masks }) => masks[at] ?? counts.length)
    product = b.op('Mul', [product, b.op('Gather', [all, b.ints(...index)], { axis: 0 })])
  }
  return b.op('ReduceSum', [product], { keepdims: 0 })
}

/** Each curve as its first slope and how the slope changes at every knot. */
const addCurves = (
  b: NodeBuilder,
  counts: readonly Value[],
  { curves, total }: Resource,
): Value[] =>
  curves.map(({ mask, whole, knots }) => {
    const [units, isThere] = [counts[mask], whole === undefined ? undefined : counts[whole]]
    const count = isThere ? b.op('Mul', [units, isThere]) : units
    const slopes = knots.slice(1).map(({ count, cost }, index) => {
      const before = knots[index] as Knot
      return (cost - before.cost) / (count - before.count) / total
    })
    const changes = slopes.map((each, index) => each - (slopes[index - 1] ?? 0))
    const above = b.op('Relu', [
      b.op('Sub', [
        count,
        vectorOf(
          b,
          knots.slice(0, -1).map(({ count }) => count),
        ),
      ]),
    ])
    const risen = b.op('ReduceSum', [b.op('Mul', [above, vectorOf(b, changes)])], { keepdims: 0 })
    return b.op('Add', [risen, b.number((knots[0]?.cost ?? 0) / total, 'float32')])
  })

const vectorOf = (b: NodeBuilder, numbers: readonly number[]): Value =>
  b.edit.constant(float32Tensor([numbers.length], numbers))

/** The bottleneck, each unit by what it stands for, scaled to the option at the start. */
function addPrice(
  b: NodeBuilder,
  parts: readonly Part[],
  { masks }: MaskSet,
  { bottleneck, noise }: VtransOptions,
): Value {
  const weights = masks.map(
    ({ dimension, isWhole }) =>
      dimension.parametersPerMember * (isWhole ? dimension.size : dimension.granularity),
  )
  const first = 0.5 * Math.log(1 + 1 / Math.exp(noise))
  const start = masks.reduce((sum, { size }, i) => sum + size * (weights[i] as number) * first, 0)
  const prices = parts.map(({ gate: mean, logVariance }, index) => {
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
