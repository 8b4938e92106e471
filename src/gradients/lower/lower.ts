/**
 * Fused operators between what is wanted and the loss are written out before gradients are taken;
 * others stay as they are, and as fast.
 */
import type { GraphEdit } from '../../graph/edit.js'
import type { Node, Value } from '../../graph/graph.js'
import { inferShapes, type ShapeInfo } from '../../shape/infer.js'
import { embedLayerNorm } from './embedding.js'
import { fusedMatMul } from './fused-matmul.js'
import { groupQueryAttention } from './group-query-attention.js'
import { type Lowering, LoweringContext } from './lowering.js'
import { multiHeadAttention, packedAttention } from './multi-head-attention.js'
import { contribRotary, standardRotary } from './rotary.js'
import { standardAttention } from './standard-attention.js'

const lowerings: ReadonlyMap<string, Lowering> = new Map([
  ['Attention', standardAttention],
  ['RotaryEmbedding', standardRotary],
  ['com.microsoft.Attention', packedAttention],
  ['com.microsoft.MultiHeadAttention', multiHeadAttention],
  ['com.microsoft.GroupQueryAttention', groupQueryAttention],
  ['com.microsoft.RotaryEmbedding', contribRotary],
  ['com.microsoft.EmbedLayerNormalization', embedLayerNorm],
  ['com.microsoft.FusedMatMul', fusedMatMul],
])

/** Replaces the fused operators that read a value of `active`; what stands for which output now. */
export function lowerFused(edit: GraphEdit, active: ReadonlySet<Value>): ReadonlyMap<Value, Value> {
  const fused = [...edit.graph.nodes()].filter(
    (node) => findLowering(node) && node.inputs.some((input) => input && active.has(input)),
  )
  return lowerNodes(edit, fused)
}

/** Writes these operators out; what stands for which output now. */
export function lowerNodes(edit: GraphEdit, fused: readonly Node[]): ReadonlyMap<Value, Value> {
  const replaced = new Map<Value, Value>()
  if (fused.length === 0) return replaced
  const inferred = inferShapes(edit.graph)
  // What stands for an output has its shape, which operators further down ask for.
  const originals = new Map<Value, Value>()
  const original = (value: Value): Value => originals.get(value) ?? value
  const shapes: ShapeInfo = {
    notes: inferred.notes,
    dims: (value) => inferred.dims(original(value)),
    dataType: (value) => inferred.dataType(original(value)),
    integers: (value) => inferred.integers(value),
    constant: (value) => inferred.constant(value),
  }
  for (const node of fused) {
    const results = findLowering(node)?.(new LoweringContext(edit, shapes, node)) ?? []
    for (const [index, output] of node.outputs.entries()) {
      const result = results[index]
      if (!output || !result) continue
      edit.replaceUses(output, result)
      replaced.set(output, result)
      originals.set(result, output)
    }
    const isRead = node.outputs.some(
      (output) => output && (output.uses.size > 0 || output.isGraphOutput),
    )
    if (!isRead) edit.erase(node)
  }
  return replaced
}

const findLowering = (node: Node): Lowering | undefined => lowerings.get(node.operatorName)
