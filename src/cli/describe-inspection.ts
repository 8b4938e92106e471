/** An inspection as lines for people. */
import type { Inspection } from '../inspect/inspect.js'
import { counted, describeBytes, describeCount, table } from './text.js'

export function describeInspection(found: Inspection, isExplained: boolean): string[] {
  const lines = [
    `opset ${found.opset} · ${describeCount(found.parameters)} parameters · ${describeBytes(found.bytes)} of weights · ${describeCount(found.flopsPerToken)} FLOPs a token`,
    `${counted(found.layers, 'layer')} · hidden ${[found.hidden ?? '?'].flat().join(', ')} · vocabulary ${found.vocabulary ?? '–'}${
      found.cacheBytesPerToken ? ` · cache ${describeBytes(found.cacheBytesPerToken)} a token` : ''
    }`,
    ...(found.branches ?? []).map(
      (node) => `The branches of "${node}" are one model, without a cache and going on from one.`,
    ),
    '',
    ...describeBlocks(found),
  ]
  if (found.unrecognised.length > 0)
    lines.push(
      '',
      `${counted(found.unrecognised.length, 'operator')} without a rule: nothing goes there.`,
    )
  if (!isExplained) return lines
  lines.push('')
  for (const each of found.dimensions) {
    const can = each.sliceable
      ? `may lose members, ${describeCount(each.parametersPerMember)} parameters each${each.granularity > 1 ? `, in runs of ${each.granularity}` : ''}`
      : 'stays'
    lines.push(`${each.id} (${each.size}): ${can}`)
    for (const { node, reason } of each.reasons)
      lines.push(`    ${reason}${node ? ` at ${node}` : ''}`)
  }
  for (const { node, reason } of found.unrecognised) lines.push(`${node}: ${reason}`)
  return lines
}

function describeBlocks(found: Inspection): string[] {
  if (found.attention.length + found.feedForward.length === 0)
    return ['No attention and no feed-forward block was recognised.']
  return table(
    ['layer', 'block', 'heads', 'kv', 'size', 'width', 'prunable'],
    [
      ...found.attention.map((block) => [
        block.layer,
        `${block.kind} attention${block.over ? ' over edges' : ''}${block.causal ? ', causal' : ''}${block.window ? `, window ${block.window}` : ''}`,
        block.heads,
        block.keyValueHeads,
        block.headSize === block.valueHeadSize
          ? block.headSize
          : `${block.headSize}/${block.valueHeadSize}`,
        '',
        block.prunable ? 'yes' : 'no',
      ]),
      ...found.feedForward.map((block) => [
        block.layer,
        `feed-forward${block.gated ? ', gated' : ''}${block.experts ? `, ${block.experts.perToken} of ${block.experts.count} experts` : ''}`,
        '',
        '',
        '',
        block.width,
        block.prunable ? 'yes' : 'no',
      ]),
    ].sort((one, other) => Number(one[0]) - Number(other[0])),
  )
}
