/**
 * Attention in all its forms: by a fused operator, with a softmax, without, over edges. Nothing here looks at names,
 * exporters or families.
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { isFusedAttention } from '../axes/rules/attention.js'
import type { Value } from '../graph/graph.js'
import type { AttentionBlock, Reading } from './attention-block.js'
import { readEdges } from './edge-attention.js'
import { readFused } from './fused-attention.js'
import { readSoftmax } from './softmax-attention.js'
import { isMeasure, isSoftmax } from './trace.js'
import { readUnnormalised } from './unnormalised-attention.js'

export type { AttentionBlock } from './attention-block.js'

export function findAttention(analysis: AxisAnalysis): AttentionBlock[] {
  const byNode = new Map(analysis.contractions.map((each) => [each.node, each]))
  const positions = valuesOfSizes(analysis)
  const blocks: AttentionBlock[] = []
  for (const node of analysis.graph.nodes()) {
    const block = isFusedAttention(node)
      ? readFused(analysis, byNode, positions, node)
      : isSoftmax(node)
        ? readSoftmax(analysis, byNode, positions, node)
        : readEdges({ analysis, byNode, positions }, node)
    if (block) blocks.push(block)
  }
  return withUnnormalised({ analysis, byNode, positions }, blocks)
}

/** With the blocks that have no softmax over keys; one over features may belong to such a block. */
function withUnnormalised(reading: Reading, blocks: readonly AttentionBlock[]): AttentionBlock[] {
  const contexts = new Set(blocks.map(({ context }) => context.producer))
  const others = reading.analysis.contractions.flatMap((product) =>
    contexts.has(product.node) ? [] : (readUnnormalised(reading, product) ?? []),
  )
  const inner = new Set(others.map((each) => each.inner.node))
  const own = blocks.filter(({ context }) => !context.producer || !inner.has(context.producer))
  return [...own, ...others.map(({ block }) => block)]
}

/** Values that depend on constants and on the sizes of inputs alone: positions. */
function valuesOfSizes(analysis: AxisAnalysis): Set<Value> {
  const found = new Set<Value>()
  for (const node of analysis.graph.nodes()) {
    const isOfSizes = node.inputs.every(
      (input) => !input || analysis.isConstant(input) || found.has(input),
    )
    if (isOfSizes || isMeasure(node))
      for (const output of node.outputs) if (output) found.add(output)
  }
  for (const value of analysis.graph.values.values())
    if (analysis.isConstant(value)) found.add(value)
  return found
}
