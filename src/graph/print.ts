/**
 * A model in ONNX's text syntax (docs/Syntax.md of ONNX), for reading and for snapshots. Small tensors
 * are shown whole and the text of such models parses; of large ones the first elements and a digest
 * of all of them, so that a snapshot notices every change.
 */
import { createHash } from 'node:crypto'
import type { DataType } from '../onnx/data-type.js'
import { findDataType } from '../onnx/data-type.js'
import { type AttributeMessage, attributeTypes, type TypeMessage } from '../onnx/messages.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import { elementCount, type Tensor } from '../onnx/tensor.js'
import type { Attribute, Dim, Graph, LocalFunction, Model, Node, Value } from './graph.js'

/** Tensors of more elements are abbreviated. */
const shownElements = 8

export function printModel(model: Model): string {
  const header = [
    `ir_version: ${model.irVersion}`,
    `opset_import: ${printOpsets(model.opsets)}`,
    ...(model.metadata.size > 0
      ? [`metadata_props: [${[...model.metadata].map(([k, v]) => `${text(k)}: ${text(v)}`)}]`]
      : []),
  ]
  return `<\n   ${header.join(',\n   ')}\n>\n${[printGraph(model.graph), ...model.functions.map(printFunction)].join('\n')}`
}

function printGraph(graph: Graph, indent = ''): string {
  const { inputs, outputs } = graph
  const constants = [...graph.initializers()].map(
    (value) => `${indent}   ${declaration(value)} = ${elements(value.constant as Tensor)}`,
  )
  const head = `${name(graph.name || 'graph')} (${list(inputs, declaration)}) => (${list(outputs, declaration)})`
  const weights = constants.length > 0 ? `\n${indent}<\n${constants.join(',\n')}\n${indent}>` : ''
  return `${head}${weights}\n${body(graph, indent)}`
}

function printFunction(each: LocalFunction): string {
  const header = [
    `domain: ${text(each.domain)}`,
    ...(each.overload ? [`overload: ${text(each.overload)}`] : []),
    `opset_import: ${printOpsets(each.opsets)}`,
  ]
  const attributes = [
    ...each.attributes.map(name),
    ...[...each.defaults].map(([key, value]) => printAttribute(key, value, '')),
  ]
  const parameters = attributes.length > 0 ? ` <${attributes.join(', ')}>` : ''
  const names = (values: readonly Value[]): string => list(values, (value) => name(value.name))
  return `<\n  ${header.join(',\n  ')}\n>\n${name(each.name)}${parameters} (${names(each.body.inputs)}) => (${names(each.body.outputs)})\n${body(each.body, '')}`
}

function body(graph: Graph, indent: string): string {
  const lines = [...graph.nodes()].map((node) => `${indent}   ${printNode(node, `${indent}   `)}\n`)
  return `${indent}{\n${lines.join('')}${indent}}${indent ? '' : '\n'}`
}

function printNode(node: Node, indent: string): string {
  const names = (values: readonly (Value | undefined)[]): string =>
    list(values, (value) => name(value?.name ?? ''))
  const attributes = [...node.attributes].map(([key, value]) => printAttribute(key, value, indent))
  const label = node.name ? `[${name(node.name)}] ` : ''
  const domain = node.domain ? `${node.domain}.` : ''
  const overload = node.overload ? `:${node.overload}` : ''
  const stated = attributes.length > 0 ? ` <${attributes.join(', ')}>` : ''
  return `${label}${names(node.outputs)} = ${domain}${node.op}${overload}${stated} (${names(node.inputs)})`
}

function printAttribute(key: string, attribute: Attribute, indent: string): string {
  const stated = (type: string, value: string): string => `${name(key)}: ${type} = ${value}`
  const bytes = (value: Uint8Array): string => text(Buffer.from(value).toString('utf8'))
  switch (attribute.kind) {
    case 'float':
      return stated('float', float(attribute.value))
    case 'int':
      return stated('int', String(attribute.value))
    case 'string':
      return stated('string', bytes(attribute.value))
    case 'tensor':
      return stated('tensor', constant(attribute.value))
    case 'graph':
      return stated('graph', printGraph(attribute.value, indent))
    case 'floats':
      return stated('floats', `[${list(attribute.value, float)}]`)
    case 'ints':
      return stated('ints', `[${list(attribute.value, String)}]`)
    case 'strings':
      return stated('strings', `[${list(attribute.value, bytes)}]`)
    case 'tensors':
      return stated('tensors', `[${list(attribute.value, constant)}]`)
    case 'graphs':
      return stated('graphs', `[${list(attribute.value, (each) => printGraph(each, indent))}]`)
    case 'reference':
      return stated(referredType(attribute.message), `@${attribute.value}`)
    case 'other':
      return stated('tensor', '…')
  }
}

function referredType(message: unknown): string {
  const code = (message as AttributeMessage | undefined)?.type
  const [known] = Object.entries(attributeTypes).find(([, each]) => each === code) ?? ['undefined']
  return known
}

const printOpsets = (opsets: ReadonlyMap<string, number>): string =>
  `[${list([...opsets], ([domain, version]) => `${text(domain)}: ${version}`)}]`

/** Type and name, as inputs, outputs and initializers are declared. */
function declaration(value: Value): string {
  const { type } = value
  const stated = type?.dataType
    ? tensorType(type.dataType, type.dims)
    : otherType(type?.message as TypeMessage | undefined)
  return stated ? `${stated} ${name(value.name)}` : name(value.name)
}

function tensorType(type: DataType, dims: readonly Dim[] | undefined): string {
  const element = type === 'float32' ? 'float' : type === 'float64' ? 'double' : type
  if (!dims) return `${element}[]`
  return dims.length === 0
    ? element
    : `${element}[${dims.map((dim) => (typeof dim === 'string' ? name(dim) : (dim ?? '?'))).join(',')}]`
}

function otherType(message: TypeMessage | undefined): string | undefined {
  if (!message) return undefined
  const element = (code: number | undefined): string => {
    const known = findDataType(code ?? 0)
    return known ? tensorType(known, []) : 'undefined'
  }
  const inner = (each: TypeMessage | undefined): string => otherType(each) ?? 'undefined'
  if (message.tensor_type) return element(message.tensor_type.elem_type)
  if (message.sparse_tensor_type)
    return `sparse_tensor(${element(message.sparse_tensor_type.elem_type)})`
  if (message.sequence_type) return `seq(${inner(message.sequence_type.elem_type)})`
  if (message.optional_type) return `optional(${inner(message.optional_type.elem_type)})`
  if (message.map_type)
    return `map(${element(message.map_type.key_type)}, ${inner(message.map_type.value_type)})`
  return undefined
}

const constant = (tensor: Tensor): string =>
  `${tensorType(tensor.dataType, tensor.dims)} ${elements(tensor)}`

function elements(tensor: Tensor): string {
  const count = elementCount(tensor.dims)
  if (tensor.strings && count <= shownElements)
    return `{${list(tensor.strings, (each) => text(Buffer.from(each).toString('utf8')))}}`
  const isPlain = tensor.dataType !== 'bfloat16'
  const known = isPlain && count <= 1 << 20 ? fromConstant(tensor) : undefined
  const isFloat = tensor.dataType.startsWith('float')
  const all: ArrayLike<number | bigint> | undefined =
    known && (isFloat ? numbersOf(known) : known.data)
  const numbers =
    all &&
    Array.from({ length: Math.min(all.length, shownElements) }, (_, index) =>
      isFloat ? float(Number(all[index])) : String(all[index]),
    )
  if (numbers && count <= shownElements) return `{${numbers.join(', ')}}`
  return `{${[...(numbers ?? []).slice(0, 3), `… sha256 ${digest(tensor)}`].join(', ')}}`
}

function digest(tensor: Tensor): string {
  const hash = createHash('sha256')
  for (const bytes of tensor.strings ?? [tensor.bytes()]) hash.update(bytes)
  return hash.digest('hex').slice(0, 12)
}

const list = <Item>(items: readonly Item[], print: (item: Item) => string): string =>
  items.map((item) => print(item)).join(', ')

/** A number that reads as a float; seven digits are what a float32 has. */
function float(value: number): string {
  const short = String(Number(value.toPrecision(7)))
  return /[.e]|NaN|Infinity/.test(short) ? short : `${short}.0`
}

const name = (id: string): string =>
  id === '' || /^[A-Za-z_][A-Za-z0-9_]*$/.test(id) ? id || '""' : text(id)

const text = (content: string): string => JSON.stringify(content)
