/** Attention that a fused operator says itself. */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { leavesOf } from '../axes/axis.js'
import type { Node, Value } from '../graph/graph.js'
import {
  type AttentionBlock,
  findOutputProjection,
  isOriginal,
  sizeOfAll,
} from './attention-block.js'
import { isCross } from './cross-attention.js'

export function readFused(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  positions: ReadonlySet<Value>,
  node: Node,
): AttentionBlock | undefined {
  const recorded = analysis.recorded.get(node)
  const context = node.outputs[0]
  const { keyValueHeads, groups, headSize, valueHeadSize } = recorded ?? {}
  if (!context || !keyValueHeads || !groups || !headSize || !valueHeadSize) return undefined
  const [query, key] = node.inputs
  const isOneInput = node.op === 'Attention' && node.domain !== ''
  const all = [...leavesOf(keyValueHeads), ...leavesOf(groups)].filter((leaf) => !leaf.size.isOne)
  const keyValueHeadAxes = all.filter((leaf) =>
    key && !isOneInput ? isOriginal(analysis, key, leaf) : leavesOf(keyValueHeads).includes(leaf),
  )
  const groupAxes = all.filter((leaf) => !keyValueHeadAxes.includes(leaf))
  const shape = {
    keyValueHeadAxes,
    groupAxes,
    valueHeadSizeAxis: valueHeadSize,
  }
  return {
    node,
    kind:
      !isOneInput && query && key && isCross(analysis, byNode, positions, query, key)
        ? 'cross'
        : 'self',
    // Heads that were picked one by one have no factors.
    heads: keyValueHeads.size.mul(groups.size).value ?? sizeOfAll(all),
    keyValueHeads: sizeOfAll(keyValueHeadAxes),
    headSize: headSize.size.value ?? 0,
    valueHeadSize: valueHeadSize.size.value ?? 0,
    over: 'tokens',
    ...shape,
    headSizeAxis: headSize,
    keys: (isOneInput ? query : (key ?? query)) as Value,
    scores: undefined,
    probabilities: undefined,
    context,
    outputProjection: findOutputProjection(analysis, byNode, context, shape),
  }
}
