/**
 * Heads that have weights each of their own: so many softmaxes, whose values lie end to end before one
 * output projection. Together they are one block.
 */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { leavesOf, sharesLeaf } from '../axes/axis.js'
import type { Node, Value } from '../graph/graph.js'
import type { AttentionBlock } from './attention.js'
import { isTransparent, upstream } from './trace.js'

/** The blocks, with those that share an output projection so put together. */
export function withHeadsTogether(
  analysis: AxisAnalysis,
  blocks: readonly AttentionBlock[],
): AttentionBlock[] {
  const joined = new Map<Contraction, AttentionBlock[]>()
  for (const block of blocks) {
    const { outputProjection } = block
    if (outputProjection)
      joined.set(outputProjection, [...(joined.get(outputProjection) ?? []), block])
  }
  return blocks.flatMap((block) => {
    const heads = (block.outputProjection && joined.get(block.outputProjection)) ?? []
    if (heads.length < 2 || !areBeside(heads)) return [block]
    if (block !== heads[0]) return []
    const sum = (each: readonly AttentionBlock[], of: 'heads' | 'keyValueHeads'): number =>
      each.reduce((total, one) => total + one[of], 0)
    // Heads that share keys count them once.
    const byKeys = [...new Map(heads.map((each) => [keySource(analysis, each), each])).values()]
    return [{ ...block, heads: sum(heads, 'heads'), keyValueHeads: sum(byKeys, 'keyValueHeads') }]
  })
}

/** Whether the blocks are alike and their values lie end to end in what the projection reads. */
function areBeside(heads: readonly AttentionBlock[]): boolean {
  const [first] = heads
  const input = first?.outputProjection?.operands[0]?.what.root
  if (!first || input?.structure?.kind !== 'sum') return false
  const { parts } = input.structure
  return (
    parts.length >= heads.length &&
    heads.every(({ kind, headSize, valueHeadSize, valueHeadSizeAxis }) => {
      const leaves = new Set(valueHeadSizeAxis ? leavesOf(valueHeadSizeAxis) : [])
      const isAlike =
        kind === first.kind && headSize === first.headSize && valueHeadSize === first.valueHeadSize
      return isAlike && parts.some((part) => sharesLeaf(part, leaves))
    })
  )
}

/** Where keys are made: the nearest product with a constant. */
function keySource(analysis: AxisAnalysis, { keys }: AttentionBlock): Node | Value {
  const products = new Set(analysis.contractions.map(({ node }) => node))
  for (const node of upstream(keys, (each) => isTransparent(each) && !products.has(each)))
    if (products.has(node)) return node
  return keys
}
