/**
 * Messages → the graph in memory. Every name is resolved once, inner graphs see the values around
 * them, nodes come into an order in which values are made before they are read. What is not read is
 * kept in `message` and written back by export.ts.
 */
import { AttncError } from '../errors.js'
import { findDataType } from '../onnx/data-type.js'
import type {
  AttributeMessage,
  FunctionMessage,
  GraphMessage,
  ModelMessage,
  NodeMessage,
  OpsetMessage,
  TypeMessage,
  ValueInfoMessage,
} from '../onnx/messages.js'
import { float32Tensor, int64Tensor, type Tensor } from '../onnx/tensor.js'
import { type ModelFolder, tensorFromMessage } from '../onnx/tensor-message.js'
import { type Attribute, Graph, Model, Node, type TensorType, Value } from './graph.js'

/** The newest formats that the runtime takes. */
const LAST_IR = 13
const LAST_OPSET = 26
const MAX_DEPTH = 32

export function importModel(message: ModelMessage, folder: ModelFolder): Model {
  const model = new Model(message.graph?.name ?? 'main')
  model.message = message
  model.irVersion = Number(message.irVersion ?? 0)
  if (model.irVersion > LAST_IR)
    throw new AttncError(
      'IR_TOO_NEW',
      'model',
      `The model has IR version ${model.irVersion}; versions to ${LAST_IR} are understood.`,
      { suggestions: ['Export it for an older IR version, or update attnc.'] },
    )
  readOpsets(message.opsetImport, model.opsets)
  for (const { key, value } of message.metadataProps ?? [])
    model.metadata.set(key ?? '', value ?? '')
  const opset = model.opsets.get('') ?? 0
  if (opset > LAST_OPSET)
    throw new AttncError(
      'OPSET_TOO_NEW',
      'model',
      `The model uses opset ${opset}; opsets to ${LAST_OPSET} are understood.`,
      { suggestions: ['Export it for an older opset, or update attnc.'] },
    )
  new Importer(model, folder, 0).fill(model.graph, message.graph ?? {})
  for (const each of message.functions ?? [])
    model.functions.push(importFunction(model, each, folder))
  return model
}

function readOpsets(
  messages: readonly OpsetMessage[] | undefined,
  into: Map<string, number>,
): void {
  for (const { domain, version } of messages ?? []) {
    const name = domain === 'ai.onnx' ? '' : (domain ?? '')
    into.set(name, Number(version ?? 0))
  }
}

function importFunction(model: Model, message: FunctionMessage, folder: ModelFolder) {
  const opsets = new Map<string, number>()
  readOpsets(message.opsetImport, opsets)
  const body = new Graph(message.name ?? '', model)
  const importer = new Importer(model, folder, 0)
  importer.fill(body, {
    node: message.node ?? [],
    input: (message.input ?? []).map((name) => ({ name })),
    output: (message.output ?? []).map((name) => ({ name })),
  })
  const defaults = new Map(
    (message.attributeProto ?? []).map((each) => [each.name ?? '', importer.attribute(each, body)]),
  )
  return {
    domain: message.domain ?? '',
    name: message.name ?? '',
    overload: message.overload ?? '',
    body,
    opsets,
    attributes: message.attribute ?? [],
    defaults,
    message,
  }
}

class Importer {
  constructor(
    private readonly model: Model,
    private readonly folder: ModelFolder,
    private readonly depth: number,
  ) {
    if (depth > MAX_DEPTH)
      throw new AttncError(
        'NESTED_TOO_DEEP',
        'model',
        `Graphs are nested deeper than ${MAX_DEPTH} levels.`,
      )
  }

  fill(graph: Graph, message: GraphMessage): void {
    graph.message = message
    for (const info of message.input ?? []) {
      const value = this.define(graph, info.name ?? '', 'graph input')
      this.declare(value, info)
      graph.inputs.push(value)
    }
    for (const each of message.initializer ?? []) {
      const name = each.name ?? ''
      const known = graph.values.get(name)
      const value =
        known && graph.inputs.includes(known) ? known : this.define(graph, name, 'initializer')
      this.setConstant(value, tensorFromMessage(each, this.folder))
    }
    for (const each of message.sparseInitializer ?? [])
      this.define(graph, each.values?.name ?? '', 'sparse initializer')
    const nodes = sortNodes(graph, message.node ?? [])
    for (const each of nodes) this.node(graph, each)
    for (const info of message.valueInfo ?? []) {
      const value = graph.values.get(info.name ?? '')
      if (value && !value.message) this.declare(value, info)
    }
    for (const info of message.output ?? []) {
      const value = graph.findValue(info.name ?? '')
      if (!value) throw dangling(`The graph's output "${info.name}"`)
      if (value.graph === graph) this.declare(value, info)
      graph.outputs.push(value)
    }
  }

  attribute(message: AttributeMessage, graph: Graph): Attribute {
    if (message.refAttrName) return { kind: 'reference', value: message.refAttrName, message }
    switch (message.type ?? guessKind(message)) {
      case 1:
        return { kind: 'float', value: message.f ?? 0 }
      case 2:
        return { kind: 'int', value: BigInt((message.i ?? 0).toString()) }
      case 3:
        return { kind: 'string', value: message.s ?? new Uint8Array() }
      case 4:
        return message.t
          ? { kind: 'tensor', value: tensorFromMessage(message.t, this.folder) }
          : { kind: 'other', message }
      case 5:
        return { kind: 'graph', value: this.inner(message.g ?? {}, graph) }
      case 6:
        return { kind: 'floats', value: message.floats ?? [] }
      case 7:
        return { kind: 'ints', value: (message.ints ?? []).map((each) => BigInt(each.toString())) }
      case 8:
        return { kind: 'strings', value: message.strings ?? [] }
      case 9:
        return {
          kind: 'tensors',
          value: (message.tensors ?? []).map((t) => tensorFromMessage(t, this.folder)),
        }
      case 10:
        return { kind: 'graphs', value: (message.graphs ?? []).map((g) => this.inner(g, graph)) }
      default:
        return { kind: 'other', message }
    }
  }

  private inner(message: GraphMessage, outer: Graph): Graph {
    const graph = new Graph(message.name ?? '', this.model, outer)
    new Importer(this.model, this.folder, this.depth + 1).fill(graph, message)
    return graph
  }

  private define(graph: Graph, name: string, what: string): Value {
    if (graph.values.has(name))
      throw new AttncError(
        'DEFINED_TWICE',
        'model',
        `"${name}" is defined twice; the second time as ${what}. Every value has one definition.`,
      )
    const value = new Value(name, graph)
    graph.values.set(name, value)
    return value
  }

  private setConstant(value: Value, tensor: Tensor): void {
    value.constant = tensor
    value.type ??= { dataType: tensor.dataType, dims: tensor.dims }
  }

  private declare(value: Value, info: ValueInfoMessage): void {
    value.message = info
    value.type = importType(info.type) ?? value.type
  }

  private node(graph: Graph, message: NodeMessage): void {
    const domain = message.domain === 'ai.onnx' ? '' : (message.domain ?? '')
    const { model } = this
    const node = new Node(
      model.nextNodeId(),
      graph,
      message.opType ?? '',
      domain,
      message.name ?? '',
      message.overload ?? '',
    )
    node.message = message
    for (const [index, name] of (message.input ?? []).entries()) {
      const value = name === '' ? undefined : graph.findValue(name)
      if (name !== '' && !value)
        throw dangling(`Node "${node.name || node.op}", input ${index}: "${name}"`)
      node.inputs.push(value)
      value?.uses.add({ node, index })
    }
    for (const each of message.attribute ?? [])
      node.attributes.set(each.name ?? '', this.attribute(each, graph))
    for (const name of message.output ?? []) {
      const value = name === '' ? undefined : this.define(graph, name, `output of ${node.op}`)
      if (value) value.producer = node
      node.outputs.push(value)
    }
    graph.nodesById.set(node.id, node)
    const [output] = node.outputs
    const constant = node.op === 'Constant' && domain === '' ? constantOf(node) : undefined
    if (output && constant) this.setConstant(output, constant)
  }
}

const dangling = (what: string): AttncError =>
  new AttncError('DANGLING_VALUE', 'model', `${what} is defined nowhere in the graph.`, {
    suggestions: ['The model is damaged, or an edit removed a node that is still read.'],
  })

/** The kind of an attribute whose type is not stated (IR versions before 4). */
function guessKind(message: AttributeMessage): number {
  if (message.t) return 4
  if (message.g) return 5
  if (message.ints?.length) return 7
  if (message.floats?.length) return 6
  if (message.strings?.length) return 8
  if (message.s) return 3
  if (message.i !== undefined) return 2
  return message.f === undefined ? 0 : 1
}

export function importType(message: TypeMessage | undefined): TensorType | undefined {
  if (!message) return undefined
  const { tensorType } = message
  if (!tensorType) return { dataType: undefined, dims: undefined, message }
  const dims = tensorType.shape
    ? (tensorType.shape.dim ?? []).map(({ dimValue, dimParam }) =>
        dimParam ? dimParam : dimValue === undefined ? undefined : Number(dimValue),
      )
    : undefined
  return { dataType: findDataType(tensorType.elemType ?? 0), dims, message }
}

/** What a Constant node yields. */
function constantOf(node: Node): Tensor | undefined {
  const text = (bytes: readonly Uint8Array[], dims: readonly number[]): Tensor => ({
    dataType: 'string',
    dims,
    byteLength: 0,
    bytes: () => new Uint8Array(),
    strings: bytes,
  })
  for (const [name, attribute] of node.attributes) {
    if (name === 'value' && attribute.kind === 'tensor') return attribute.value
    if (name === 'value_float' && attribute.kind === 'float')
      return float32Tensor([], [attribute.value])
    if (name === 'value_floats' && attribute.kind === 'floats')
      return float32Tensor([attribute.value.length], attribute.value)
    if (name === 'value_int' && attribute.kind === 'int') return int64Tensor([], [attribute.value])
    if (name === 'value_ints' && attribute.kind === 'ints')
      return int64Tensor([attribute.value.length], attribute.value)
    if (name === 'value_string' && attribute.kind === 'string') return text([attribute.value], [])
    if (name === 'value_strings' && attribute.kind === 'strings')
      return text(attribute.value, [attribute.value.length])
  }
  return undefined
}

/** Nodes in an order in which values are made before they are read; files mostly are already. */
function sortNodes(graph: Graph, nodes: readonly NodeMessage[]): readonly NodeMessage[] {
  const makers = new Map<string, NodeMessage>()
  for (const node of nodes)
    for (const output of node.output ?? []) if (output) makers.set(output, node)
  const state = new Map<NodeMessage, 'open' | 'done'>()
  const sorted: NodeMessage[] = []
  for (const start of nodes) {
    const stack: [NodeMessage, IterableIterator<NodeMessage>][] = []
    const enter = (node: NodeMessage): void => {
      state.set(node, 'open')
      stack.push([node, needs(graph, node, makers)])
    }
    if (!state.has(start)) enter(start)
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const next = top[1].next()
      if (next.done) {
        state.set(top[0], 'done')
        sorted.push(top[0])
        stack.pop()
      } else if (state.get(next.value) === 'open')
        throw new AttncError(
          'CYCLIC_GRAPH',
          'model',
          `Node "${next.value.name || next.value.opType}" needs its own result: the graph has a cycle.`,
        )
      else if (!state.has(next.value)) enter(next.value)
    }
  }
  return sorted
}

/** Nodes that make what a node reads, also inside its graphs. */
function* needs(
  graph: Graph,
  node: NodeMessage,
  makers: ReadonlyMap<string, NodeMessage>,
  depth = 0,
): IterableIterator<NodeMessage> {
  for (const name of node.input ?? []) {
    const maker = makers.get(name)
    if (maker && !graph.values.has(name)) yield maker
  }
  if (depth > MAX_DEPTH) return
  for (const attribute of node.attribute ?? [])
    for (const inner of [...(attribute.g ? [attribute.g] : []), ...(attribute.graphs ?? [])]) {
      const own = new Set((inner.node ?? []).flatMap((each) => each.output ?? []))
      for (const each of inner.node ?? [])
        for (const maker of needs(graph, each, makers, depth + 1))
          if (!(maker.output ?? []).some((output) => own.has(output))) yield maker
      for (const output of inner.output ?? []) {
        const maker = makers.get(output.name ?? '')
        if (maker && !own.has(output.name ?? '')) yield maker
      }
    }
}
