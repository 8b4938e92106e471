/** Rotary embeddings turn pairs within a head, whose size they fix. */
import { intAttribute } from '../../graph/graph.js'
import { Size } from '../../shape/symbolic.js'
import type { Axis } from '../axis.js'
import type { AxisRule, RuleContext } from '../rule.js'

/** Turns pairs inside a head; heads pass. Tables [positions, size/2]. */
export const rotaryEmbedding: AxisRule = {
  relate(context) {
    const x = context.input(0) ?? []
    const y = context.output(0) ?? []
    for (const [index, axis] of x.entries()) context.unify(axis, y[index])
    if (x.length === 4) return context.block(x[3], 'its members are turned in pairs')
    const heads = rotaryHeads(context, x)
    const headSize = heads && x[2]?.size.divideExact(Size.of(heads))
    if (!heads || !headSize) return context.block(x[2], 'its heads are not known')
    const factors = [context.newAxis(Size.of(heads)), context.newAxis(headSize)]
    context.unifyProducts([x[2] as Axis], factors)
    context.block(factors[1], 'its members are turned in pairs')
    context.record({ heads: factors[0] as Axis })
  },
  rewrite(context) {
    const heads = context.recorded()?.['heads']
    const left = heads && context.sizeOf(heads).value
    if (left !== undefined && intAttribute(context.node, 'num_heads', 0) > 0)
      context.setInt('num_heads', left)
  },
}

/** Heads of a rotary operator on [B, S, H·d]: stated, or from tables of half a head. */
function rotaryHeads(context: RuleContext, x: readonly Axis[]): number | undefined {
  const stated = intAttribute(context.node, 'num_heads', 0)
  if (stated > 0) return stated
  const table = context.input(context.node.domain === '' ? 1 : 2)?.at(-1)?.size.value
  const width = x[2]?.size.value
  return table && width ? width / (2 * table) : undefined
}
