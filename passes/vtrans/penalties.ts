/**
 * What the loss of masks has besides the task's: the price of the bottleneck, and the pressure towards the sparsity
 * asked for, which takes soft counts through what resources cost (resource.ts).
 */
import type { Value } from '../../src/graph/graph.js'
import type { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { EPSILON } from './bottleneck.js'
import { logAlphaOf, type MaskPart, vectorOf } from './mask-parts.js'
import type { MaskSet } from './masks.js'
import type { VtransOptions } from './options.js'
import type { Knot, Resource } from './resource.js'

/** Input [2]: λ₁ and λ₂. */
export const PRESSURE = 'attnc.pressure'
/** Input: how sharply the soft count tells units apart now. */
export const SLOPE = 'attnc.slope'
/** Input: the sparsity that is wanted now. */
export const TARGET = 'attnc.sparsity'

/** 1 − R/P, with the soft counts of all masks; of several resources that of which the least is saved. */
export function addSparsity(
  b: NodeBuilder,
  parts: readonly MaskPart[],
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

/** The bottleneck, each unit by what it stands for, scaled to the option at the start. */
export function addPrice(
  b: NodeBuilder,
  parts: readonly MaskPart[],
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
export function addPressure(b: NodeBuilder, sparsity: Value): Value {
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
