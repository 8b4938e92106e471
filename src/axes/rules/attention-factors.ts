/**
 * What all fused attention operators have in common: the factors of their axes, and how attributes state the
 * counts. Query head h belongs to key-value head floor(h / G).
 */
import { Size } from '../../shape/symbolic.js'
import type { Axis } from '../axis.js'
import type { RewriteContext, RuleContext } from '../rule.js'

/** Factors of an attention: queries are [keyValueHeads, groups, headSize]. */
export interface Factors {
  readonly keyValueHeads: Axis
  readonly groups: Axis
  readonly headSize: Axis
  readonly valueHeadSize: Axis
}

export function newFactors(
  context: RuleContext,
  sizes: { heads: number; keyValueHeads: number; headSize: Size; valueHeadSize: Size },
): Factors {
  const factors = {
    keyValueHeads: context.newAxis(Size.of(sizes.keyValueHeads)),
    groups: context.newAxis(Size.of(sizes.heads / sizes.keyValueHeads)),
    headSize: context.newAxis(sizes.headSize),
    valueHeadSize: context.newAxis(sizes.valueHeadSize),
  }
  context.record({ ...factors })
  return factors
}

export const queryHeads = (f: Factors): Axis[] => [f.keyValueHeads, f.groups]

export const queryFactors = (f: Factors): Axis[] => [...queryHeads(f), f.headSize]

export const keyFactors = (f: Factors): Axis[] => [f.keyValueHeads, f.headSize]

export const valueFactors = (f: Factors): Axis[] => [f.keyValueHeads, f.valueHeadSize]

export const resultFactors = (f: Factors): Axis[] => [...queryHeads(f), f.valueHeadSize]

/** A tensor given as [batch, sequence, heads·size] or [batch, heads, sequence, size]. */
export function relateHeads(
  context: RuleContext,
  axes: readonly Axis[] | undefined,
  factors: readonly Axis[],
): void {
  if (axes?.length === 3) context.unifyProducts([axes[2] as Axis], factors)
  if (axes?.length !== 4) return
  context.unifyProducts([axes[1] as Axis], factors.slice(0, -1))
  context.unify(axes[3], factors.at(-1))
}

/** A bias or mask that broadcasts to [batch, heads, queries, keys]. */
export function relateScoresLike(
  context: RuleContext,
  axes: readonly Axis[] | undefined,
  factors: Factors,
): void {
  const heads = axes?.at(-3)
  if (axes && axes.length >= 3 && heads && !heads.size.isOne)
    context.unifyProducts([heads], queryHeads(factors))
}

export function relateSequence(context: RuleContext): void {
  const from = context.input(0) ?? []
  const to = context.output(0) ?? []
  context.unify(from[0], to[0])
  if (from.length === to.length && from.length === 3) context.unify(from[1], to[1])
  if (from.length === to.length && from.length === 4) context.unify(from[2], to[2])
}

export const FIXED = 'the fused operator fixes the head size'

export function setCounts(context: RewriteContext, heads: string, keyValueHeads?: string): void {
  const axes = context.recorded()
  const groups = axes?.['groups']
  const keyValue = axes?.['keyValueHeads']
  if (!groups || !keyValue) return
  const left = context.sizeOf(keyValue).value ?? 1
  if (context.node.attributes.has(heads))
    context.setInt(heads, left * (context.sizeOf(groups).value ?? 1))
  if (keyValueHeads && context.node.attributes.has(keyValueHeads))
    context.setInt(keyValueHeads, left)
}

/** The scale is 1/√headSize unless it is stated: state it before the head size changes. */
export function keepScale(context: RewriteContext): void {
  const headSize = context.recorded()?.['headSize']
  const before = headSize?.size.value
  if (!headSize || before === undefined || context.sizeOf(headSize).value === before) return
  const stated = context.node.attributes.get('scale')
  if (stated?.kind === 'float' && stated.value !== 0) return
  context.setFloat('scale', 1 / Math.sqrt(before))
}

/** One bias for the three projections, laid end to end. */
export function relateBias(context: RuleContext, input: number, factors: Factors): void {
  const bias = context.input(input)?.[0]
  if (!bias) return
  const parts = [queryFactors(factors), keyFactors(factors), valueFactors(factors)]
  context.unifyParts(bias, parts)
}
