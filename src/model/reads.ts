/**
 * The products through which a block reads the stream: queries, keys and values, gate and up. Found by
 * walking back from what the output projection reads to the nearest products with a weight.
 */
import type { Contraction } from '../axes/analysis.js'
import type { Node, Value } from '../graph/graph.js'
import { type Block, findBlocks, type TokenRows, tokensOf } from './block.js'
import type { TransformerModel } from './model.js'
import { type Projection, readProjection } from './projection.js'

/** A value [..., size], and the plain weights [size, outputs] that it meets inside the block. */
export interface BlockRead {
  readonly value: Value
  readonly size: number
  readonly tokens: TokenRows | undefined
  readonly projections: readonly Projection[]
}

/**
 * Reads of each block, by its key, in an order that depends on the graph alone. Weights that are
 * quantised, shared or copied are left out, and experts have none: there is nothing to compare their rows with.
 */
export function findReads(view: TransformerModel): ReadonlyMap<string, readonly BlockRead[]> {
  const blocks = findBlocks(view)
  const contractions = new Map(view.analysis.contractions.map((each) => [each.node, each]))
  // What blocks write is the stream: behind it begin other blocks.
  const written = new Set(
    blocks.flatMap(({ output, stream }) => (stream ? [output, stream] : [output])),
  )
  return new Map(blocks.map((block) => [block.key, readsOf(view, block, contractions, written)]))
}

function readsOf(
  view: TransformerModel,
  block: Block,
  contractions: ReadonlyMap<Node, Contraction>,
  written: ReadonlySet<Value>,
): BlockRead[] {
  if (block.isExpert) return []
  const found = new Map<Value, Projection[]>()
  const seen = new Set<Value>()
  const visit = (value: Value): void => {
    if (seen.has(value) || written.has(value) || isWeight(value)) return
    seen.add(value)
    const node = value.producer
    // Sizes say nothing of numbers.
    if (!node || node.op === 'Shape' || node.op === 'Size') return
    const contraction = contractions.get(node)
    if (contraction && node.inputs.some((input) => input && isWeight(input))) {
      const projection = readProjection(contraction, view.analysis.copies)
      const read = projection && dataOf(node)
      if (read) found.set(read, [...(found.get(read) ?? []), projection])
      return
    }
    for (const input of node.inputs) if (input) visit(input)
  }
  visit(block.input)
  return [...found].flatMap(([value, all]) => {
    const size = view.analysis.axes(value)?.at(-1)?.size.value
    const projections = all.filter(({ rows }) => rows === size)
    if (!size || projections.length === 0) return []
    return [{ value, size, tokens: tokensOf(view, value), projections }]
  })
}

/** A constant, also behind nodes that read nothing else: a Transpose, a DequantizeLinear. */
function isWeight(value: Value): boolean {
  if (value.constant) return true
  const inputs = value.producer?.inputs ?? []
  return inputs.length > 0 && inputs.every((input) => !input || isWeight(input))
}

const dataOf = ({ op, inputs }: Node): Value | undefined =>
  op === 'MatMul' || op === 'Gemm' ? inputs.find((input) => input && !isWeight(input)) : undefined
