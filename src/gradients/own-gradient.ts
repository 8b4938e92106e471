/** The backward pass of attnc's attention by its own operator, where there is a kernel for it. */
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { canRunOnCuda } from '../../kernels/block-sparse-attention-gradient/can-run.js'
import { blockSparseAttentionGradient } from '../../kernels/block-sparse-attention-gradient/index.js'
import { emitKernel, KERNEL_DOMAIN, type KernelType, kernelTypeOf } from '../../kernels/kernel.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'

/** Whether attention of these types has a kernel for its backward pass: query, key and value. */
export type HasKernel = (types: readonly (KernelType | undefined)[]) => boolean

/** On CUDA. */
export const hasGradientKernel: HasKernel = (types) => canRunOnCuda(types).ok

export interface OwnGradients {
  /** Nodes whose backward pass `addAttentionGradient` does. */
  readonly nodes: ReadonlySet<Node>
  /** What stands for their outputs now. */
  readonly replaced: ReadonlyMap<Value, Value>
}

/** Nodes on the way of which nothing but query, key and value learns; each now gives its log-sum-exp too. */
export function findOwnGradients(
  edit: GraphEdit,
  shapes: ShapeInfo,
  onTheWay: ReadonlySet<Value>,
  hasKernel: HasKernel,
): OwnGradients {
  const nodes = new Set<Node>()
  const replaced = new Map<Value, Value>()
  const learns = (value: Value | undefined): boolean => value !== undefined && onTheWay.has(value)
  for (const node of [...edit.graph.nodes()]) {
    if (node.domain !== KERNEL_DOMAIN || node.op !== blockSparseAttention.name) continue
    const isOwn = node.inputs
      .slice(0, 3)
      .some((input) => learns(input) || replaced.has(input as Value))
    if (!isOwn || node.inputs.slice(3).some(learns) || node.outputs[1]?.uses.size) continue
    if (!hasKernel(node.inputs.slice(0, 3).map((input) => kernelTypeOf(input, shapes)))) continue
    const made = keepLogSumExp(edit, node, shapes)
    const [old, same] = [node.outputs[0] as Value, made.outputs[0] as Value]
    if (old !== same) replaced.set(old, same)
    nodes.add(made)
  }
  return { nodes, replaced }
}

/** The node with its log-sum-exp as a second output. */
function keepLogSumExp(edit: GraphEdit, node: Node, shapes: ShapeInfo): Node {
  if (node.outputs[1]) return node
  const [query] = node.inputs as [Value]
  const [output] = node.outputs as [Value]
  const made = emitKernel(edit, blockSparseAttention, {
    inputs: node.inputs,
    attributes: blockSparseAttention.decode(node),
    outputs: 2,
    dataType: shapes.dataType(query),
    before: node,
  })
  const [same] = made.outputs as [Value]
  if (output.type) edit.setType(same, output.type)
  edit.replaceUses(output, same)
  if (!output.isGraphOutput) edit.erase(node)
  return made
}

/** Gradients of query, key and value; `shapes` are from before, and know the query. */
export function addAttentionGradient(
  edit: GraphEdit,
  node: Node,
  gradient: Value,
  shapes: ShapeInfo,
): readonly (Value | undefined)[] {
  const [output, logSumExp] = node.outputs
  const { outputs } = emitKernel(edit, blockSparseAttentionGradient, {
    inputs: [...node.inputs.slice(0, 5), output, logSumExp, gradient, ...node.inputs.slice(5)],
    attributes: blockSparseAttention.decode(node),
    dataType: shapes.dataType(node.inputs[0] as Value),
  })
  return outputs.slice(0, 3)
}
