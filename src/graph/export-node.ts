/**
 * Nodes and attributes → messages. What did not change since import is the message it was read from,
 * found by comparing contents: an edit need not mark anything.
 */
import type {
  AttributeMessage,
  GraphMessage,
  NodeMessage,
  TensorMessage,
} from '../onnx/messages.js'
import { attributeTypes, copyMessage } from '../onnx/messages.js'
import type { Tensor } from '../onnx/tensor.js'
import type { Attribute, Graph, Node } from './graph.js'
import { domainName, originKey } from './graph-importer.js'
import { constantOf } from './import-attribute.js'

/** What export.ts gives: how a graph that a node holds is written, and a tensor. */
export interface ExportContext {
  graph(graph: Graph): GraphMessage
  tensor(
    tensor: Tensor,
    name: string | undefined,
    original: TensorMessage | undefined,
  ): TensorMessage
}

export function exportNode(node: Node, context: ExportContext): NodeMessage {
  const original = node.message as NodeMessage | undefined
  const changes = {
    input: keepList(
      node.inputs.map((value) => value?.name ?? ''),
      original?.input,
    ),
    output: keepList(
      node.outputs.map((value) => value?.name ?? ''),
      original?.output,
    ),
    attribute: keepList(exportAttributes(node, original, context), original?.attribute),
    metadata_props: exportMetadata(node, original),
  }
  if (!original)
    return {
      ...changes,
      name: node.name,
      op_type: node.op,
      ...(node.domain ? { domain: node.domain } : {}),
      ...(node.overload ? { overload: node.overload } : {}),
    } as NodeMessage
  const isSame =
    changes.input === original.input &&
    changes.output === original.output &&
    changes.attribute === original.attribute &&
    changes.metadata_props === original.metadata_props &&
    domainName(original.domain) === node.domain
  return isSame ? original : copyMessage(original, changes)
}

function exportAttributes(
  node: Node,
  original: NodeMessage | undefined,
  context: ExportContext,
): AttributeMessage[] {
  const replaced = replacedConstant(node)
  if (replaced) {
    const before = original?.attribute?.find((each) => each.name === 'value')
    const value = { kind: 'tensor', value: replaced } as const
    return [exportAttribute('value', value, before, context)]
  }
  const known = new Map((original?.attribute ?? []).map((each) => [each.name ?? '', each]))
  const order = [...known.keys()].filter((name) => node.attributes.has(name))
  for (const name of node.attributes.keys()) if (!known.has(name)) order.push(name)
  return order.map((name) =>
    exportAttribute(name, node.attributes.get(name) as Attribute, known.get(name), context),
  )
}

/** The tensor that an edit gave to the output of a Constant node, if it is no longer the node's own. */
function replacedConstant(node: Node): Tensor | undefined {
  const constant = node.outputs[0]?.constant
  if (!constant || node.op !== 'Constant' || node.domain !== '') return undefined
  const own = constantOf(node)
  if (own === constant) return undefined
  const isSame =
    own &&
    !node.attributes.has('value') &&
    own.dataType === constant.dataType &&
    own.dims.join() === constant.dims.join() &&
    (own.strings ?? [own.bytes()]).every((bytes, index) =>
      sameBytes(bytes, (constant.strings ?? [constant.bytes()])[index]),
    )
  return isSame ? undefined : constant
}

/** An attribute by itself; also for the defaults of functions. */
export function exportAttribute(
  name: string,
  attribute: Attribute,
  original: AttributeMessage | undefined,
  context: ExportContext,
): AttributeMessage {
  if (attribute.kind === 'other') return attribute.message as AttributeMessage
  if (attribute.kind === 'reference') {
    const message = attribute.message as AttributeMessage | undefined
    return message && message.ref_attr_name === attribute.value
      ? message
      : copyMessage(message, { name, ref_attr_name: attribute.value })
  }
  const content = exportContent(attribute, original, context)
  if (original && !original.ref_attr_name && isSameContent(content, original)) return original
  return copyMessage<AttributeMessage>(undefined, {
    name,
    type: attributeTypes[attribute.kind],
    ...(original?.doc_string ? { doc_string: original.doc_string } : {}),
    ...content,
  })
}

function exportContent(
  attribute: Exclude<Attribute, { kind: 'other' | 'reference' }>,
  original: AttributeMessage | undefined,
  context: ExportContext,
): AttributeMessage {
  switch (attribute.kind) {
    case 'float':
      return { f: attribute.value }
    case 'int':
      return { i: attribute.value }
    case 'string':
      return { s: attribute.value }
    case 'tensor':
      return { t: exportTensor(attribute.value, original?.t, context) }
    case 'graph':
      return { g: context.graph(attribute.value) }
    case 'floats':
      return { floats: attribute.value }
    case 'ints':
      return { ints: attribute.value }
    case 'strings':
      return { strings: attribute.value }
    case 'tensors':
      return {
        tensors: attribute.value.map((tensor, index) =>
          exportTensor(tensor, original?.tensors?.[index], context),
        ),
      }
    case 'graphs':
      return { graphs: attribute.value.map((graph) => context.graph(graph)) }
  }
}

const exportTensor = (
  tensor: Tensor,
  original: TensorMessage | undefined,
  context: ExportContext,
): TensorMessage =>
  context.tensor(
    tensor,
    (tensor.message as TensorMessage | undefined)?.name ?? original?.name,
    original,
  )

/** Whether the one field of `content` is what `original` says. Messages are compared by identity. */
function isSameContent(content: AttributeMessage, original: AttributeMessage): boolean {
  const [key, value] = Object.entries(content)[0] as [keyof AttributeMessage, unknown]
  const before: unknown = original[key]
  if (Array.isArray(value)) {
    const list = (before ?? []) as unknown[]
    return value.length === list.length && value.every((each, index) => isSame(each, list[index]))
  }
  return Object.hasOwn(original, key)
    ? isSame(value, before)
    : value === 0 || value === 0n || (value instanceof Uint8Array && value.length === 0)
}

const isSame = (one: unknown, other: unknown): boolean =>
  one instanceof Uint8Array && other instanceof Uint8Array
    ? sameBytes(one, other)
    : Object.is(one, other)

const sameBytes = (one: Uint8Array | undefined, other: Uint8Array | undefined): boolean =>
  !!one && !!other && Buffer.compare(one, other) === 0

/** Adds the label of the edit that made the node; files before IR 10 have no place for it. */
function exportMetadata(node: Node, original: NodeMessage | undefined) {
  const before = original?.metadata_props
  const known = before?.find((entry) => entry.key === originKey)?.value
  if (!node.origin || known === node.origin || node.graph.model.irVersion < 10) return before
  return [
    ...(before ?? []).filter((entry) => entry.key !== originKey),
    { key: originKey, value: node.origin },
  ]
}

/** The original list where the new one has the same members. */
export function keepList<Item>(
  list: readonly Item[],
  original: readonly Item[] | undefined,
): readonly Item[] | undefined {
  if (list.length !== (original?.length ?? 0)) return list
  return list.every((item, index) => item === original?.[index]) ? original : list
}
