/**
 * Heads that have weights each of their own: so many softmaxes, whose values lie end to end before one
 * output projection. Together they are one block.
 */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import type { Node, Value } from '../graph/graph.js'
import type { AttentionBlock } from './attention.js'
import { downstream, isMover, isTransparent, upstream } from './trace.js'

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
    // The same heads again, each time over some of the tokens.
    if (haveSameHeads(heads)) return [block]
    const sum = (each: readonly AttentionBlock[], of: 'heads' | 'keyValueHeads'): number =>
      each.reduce((total, one) => total + one[of], 0)
    // Heads that share keys count them once.
    const byKeys = [...new Map(heads.map((each) => [keySource(analysis, each), each])).values()]
    return [{ ...block, heads: sum(heads, 'heads'), keyValueHeads: sum(byKeys, 'keyValueHeads') }]
  })
}

const haveSameHeads = ([first, ...rest]: readonly AttentionBlock[]): boolean => {
  const axes = [...(first?.keyValueHeadAxes ?? []), ...(first?.groupAxes ?? [])]
  const isSame = ({ keyValueHeadAxes, groupAxes }: AttentionBlock): boolean =>
    [...keyValueHeadAxes, ...groupAxes].every((axis) => axes.includes(axis))
  return axes.length > 0 && rest.every(isSame)
}

/** Whether the blocks are alike and the first thing that happens to them is that they are laid together. */
function areBeside(heads: readonly AttentionBlock[]): boolean {
  const [first] = heads
  const meetings = heads.map(({ context }) => laidAt(context))
  const [meeting] = meetings
  const places = new Set(meetings.map((each) => each?.index))
  return (
    meeting !== undefined &&
    places.size === heads.length &&
    meetings.every((each) => each?.node === meeting.node) &&
    heads.every(
      ({ kind, headSize, valueHeadSize }) =>
        kind === first?.kind &&
        headSize === first.headSize &&
        valueHeadSize === first.valueHeadSize,
    )
  )
}

/** The nearest Concat that a value gets to without meeting another, and where it is in it. */
function laidAt(value: Value): { readonly node: Node; readonly index: number } | undefined {
  for (const use of downstream(value, isMover)) if (use.node.op === 'Concat') return use
  return undefined
}

/** Where keys are made: the nearest product with a constant. */
function keySource(analysis: AxisAnalysis, { keys }: AttentionBlock): Node | Value {
  const products = new Set(analysis.contractions.map(({ node }) => node))
  for (const node of upstream(keys, (each) => isTransparent(each) && !products.has(each)))
    if (products.has(node)) return node
  return keys
}
