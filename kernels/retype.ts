/**
 * A node of attnc's own whose numbers change their type. Functions are typed, so that it takes another
 * one; the one that no node calls any more goes.
 */
import type { GraphEdit } from '../src/graph/edit.js'
import type { Node } from '../src/graph/graph.js'
import type { DataType } from '../src/onnx/data-type.js'
import { kernels } from './index.js'
import { declareKernel, KERNEL_DOMAIN } from './kernel.js'

/** Whether the operator's contract states the type of a port, so that it stays in any precision. */
export function hasOwnType(node: Node, side: 'inputs' | 'outputs', index: number): boolean {
  const kernel = kernels.find(({ name }) => name === node.op)
  return node.domain === KERNEL_DOMAIN && kernel?.[side][index]?.type !== undefined
}

/** The node in its place, with the same inputs and outputs; their types are the caller's to state. */
export function retypeKernel(edit: GraphEdit, node: Node, dataType: DataType): Node {
  const kernel = kernels.find(({ name }) => name === node.op)
  if (!kernel || node.domain !== KERNEL_DOMAIN) return node
  const { model } = edit.graph
  const overload = declareKernel(model, kernel, {
    attributes: kernel.decode(node),
    present: node.inputs.map((input) => input !== undefined),
    count: node.outputs.length,
    dataType,
  })
  const { op, domain, inputs, attributes } = node
  const made = edit.replaceNode(node, {
    op,
    domain,
    overload,
    inputs: [...inputs],
    attributes: Object.fromEntries(attributes),
  })
  const isCalled = [...edit.graph.nodes()].some(
    (each) => each.domain === domain && each.op === op && each.overload === node.overload,
  )
  const { functions } = model
  const old = functions.findIndex(
    (each) => each.domain === domain && each.name === op && each.overload === node.overload,
  )
  if (!isCalled && old >= 0) functions.splice(old, 1)
  return made
}
