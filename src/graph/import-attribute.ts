/**
 * AttributeProto → Attribute. Kinds that attnc does not read are carried as their message.
 * Graphs are imported by the caller, who knows the values around them.
 */

import type { TensorMessage } from '../onnx/messages.js'
import { type AttributeMessage, attributeTypes, type GraphMessage } from '../onnx/messages.js'
import { float32Tensor, int64Tensor, type Tensor } from '../onnx/tensor.js'
import type { Attribute, Graph, Node } from './graph.js'

export interface AttributeContext {
  tensor(message: TensorMessage): Tensor
  graph(message: GraphMessage): Graph
}

export function importAttribute(message: AttributeMessage, context: AttributeContext): Attribute {
  if (message.ref_attr_name) return { kind: 'reference', value: message.ref_attr_name, message }
  switch (message.type || typeByContent(message)) {
    case attributeTypes.float:
      return { kind: 'float', value: message.f ?? 0 }
    case attributeTypes.int:
      return { kind: 'int', value: BigInt(message.i ?? 0n) }
    case attributeTypes.string:
      return { kind: 'string', value: Uint8Array.from(message.s ?? []) }
    case attributeTypes.tensor:
      return message.t
        ? { kind: 'tensor', value: context.tensor(message.t) }
        : { kind: 'other', message }
    case attributeTypes.graph:
      return message.g
        ? { kind: 'graph', value: context.graph(message.g) }
        : { kind: 'other', message }
    case attributeTypes.floats:
      return { kind: 'floats', value: message.floats ?? [] }
    case attributeTypes.ints:
      return { kind: 'ints', value: message.ints ?? [] }
    case attributeTypes.strings:
      return { kind: 'strings', value: message.strings ?? [] }
    case attributeTypes.tensors:
      return { kind: 'tensors', value: (message.tensors ?? []).map((each) => context.tensor(each)) }
    case attributeTypes.graphs:
      return { kind: 'graphs', value: (message.graphs ?? []).map((each) => context.graph(each)) }
    default:
      return { kind: 'other', message }
  }
}

/** Files of IR versions before 2 do not state the type. */
function typeByContent(message: AttributeMessage): number {
  if (message.t) return attributeTypes.tensor
  if (message.g) return attributeTypes.graph
  if (message.ints?.length) return attributeTypes.ints
  if (message.floats?.length) return attributeTypes.floats
  if (message.strings?.length) return attributeTypes.strings
  if (message.tensors?.length) return attributeTypes.tensors
  if (message.graphs?.length) return attributeTypes.graphs
  if (Object.hasOwn(message, 's')) return attributeTypes.string
  if (Object.hasOwn(message, 'i')) return attributeTypes.int
  if (Object.hasOwn(message, 'f')) return attributeTypes.float
  return 0
}

/** What a Constant node yields, or undefined where its attribute is a reference or not understood. */
export function constantOf(node: Node): Tensor | undefined {
  for (const [name, attribute] of node.attributes) {
    if (name === 'value' && attribute.kind === 'tensor') return attribute.value
    if (name === 'value_float' && attribute.kind === 'float')
      return float32Tensor([], [attribute.value])
    if (name === 'value_floats' && attribute.kind === 'floats')
      return float32Tensor([attribute.value.length], attribute.value)
    if (name === 'value_int' && attribute.kind === 'int') return int64Tensor([], [attribute.value])
    if (name === 'value_ints' && attribute.kind === 'ints')
      return int64Tensor([attribute.value.length], attribute.value)
    if (name === 'value_string' && attribute.kind === 'string')
      return stringTensor([], [attribute.value])
    if (name === 'value_strings' && attribute.kind === 'strings')
      return stringTensor([attribute.value.length], attribute.value)
  }
  return undefined
}

const stringTensor = (dims: readonly number[], strings: readonly Uint8Array[]): Tensor => ({
  dataType: 'string',
  dims,
  byteLength: 0,
  bytes: () => new Uint8Array(),
  strings,
})
