/** One graph of a message, inner ones included: values, nodes and constants, each told by name when it breaks a law. */
import { AttncError } from '../errors.js'
import type { ExternalFiles } from '../onnx/external-data.js'
import type {
  AttributeMessage,
  GraphMessage,
  NodeMessage,
  TensorMessage,
  ValueInfoMessage,
} from '../onnx/messages.js'
import { sparseTensorFromMessage } from '../onnx/sparse-tensor.js'
import type { Tensor } from '../onnx/tensor.js'
import { tensorFromMessage } from '../onnx/tensor-message.js'
import { Graph, innerGraphs, Node, Value } from './graph.js'
import { constantOf, importAttribute } from './import-attribute.js'
import { countGiven } from './links.js'
import { sortNodes } from './sort-nodes.js'
import { importType } from './type-message.js'

/** Where a node's origin is kept in its metadata. */
export const originKey = 'attnc.origin'

/** `ai.onnx` has two spellings. */
export const domainName = (domain: string | undefined): string =>
  domain === 'ai.onnx' ? '' : (domain ?? '')

export class GraphImporter {
  constructor(
    private readonly graph: Graph,
    private readonly files: ExternalFiles | undefined,
  ) {}

  /**
   * 1. Everything the graph defines gets its value. 2. Inputs of nodes and inner graphs find theirs.
   * 3. Nodes are put in order.
   */
  fill(message: GraphMessage): void {
    const { graph } = this
    graph.message = message
    for (const info of message.input ?? []) {
      const value = this.define(info.name ?? '', 'an input of the graph')
      this.declare(value, info)
      graph.inputs.push(value)
    }
    for (const each of message.initializer ?? [])
      this.initializer(each.name ?? '', this.tensor(each))
    for (const each of message.sparse_initializer ?? [])
      this.initializer(each.values?.name ?? '', sparseTensorFromMessage(each, this.files))
    const nodes = (message.node ?? []).map((each) => this.makeNode(each))
    for (const info of message.value_info ?? []) {
      const value = graph.values.get(info.name ?? '')
      if (value && !value.message) this.declare(value, info)
    }
    for (const node of nodes) this.connect(node)
    for (const node of sortNodes(nodes, (node) => this.nodesReadBy(node)))
      graph.nodesById.append(node)
    for (const info of message.output ?? []) graph.outputs.push(this.output(info))
  }

  attribute(message: AttributeMessage): ReturnType<typeof importAttribute> {
    return importAttribute(message, {
      tensor: (each) => this.tensor(each),
      graph: (each) => {
        const inner = new Graph(each.name ?? '', this.graph.model, this.graph)
        new GraphImporter(inner, this.files).fill(each)
        return inner
      },
    })
  }

  private tensor(message: TensorMessage): Tensor {
    return tensorFromMessage(message, this.files)
  }

  private define(name: string, what: string): Value {
    const { graph } = this
    if (name === '')
      throw new AttncError(
        'NAME_MISSING',
        'model',
        `Graph "${graph.name}" has ${what} without a name, so that nothing can read it.`,
        { suggestions: ['The model is damaged: export, copy or download it again.'] },
      )
    if (graph.values.has(name))
      throw new AttncError(
        'DUPLICATE_DEFINITION',
        'model',
        `"${name}" is defined twice in graph "${graph.name}", the second time as ${what}; a value has one definition.`,
        {
          suggestions: [
            'Export the model again; run "python -m onnx.checker" to see all problems.',
          ],
        },
      )
    const value = new Value(name, graph)
    graph.values.set(name, value)
    return value
  }

  private declare(value: Value, info: ValueInfoMessage): void {
    value.message = info
    value.type = importType(info.type) ?? value.type
  }

  /** Before IR 4 every initializer was an input of the graph too; later ones may be: a default. */
  private initializer(name: string, tensor: Tensor): void {
    const known = this.graph.values.get(name)
    const value = known && !known.constant ? known : this.define(name, 'an initializer')
    value.constant = tensor
    value.type ??= { dataType: tensor.dataType, dims: tensor.dims }
  }

  private makeNode(message: NodeMessage): Node {
    const { graph } = this
    if (!message.op_type)
      throw new AttncError(
        'OPERATOR_MISSING',
        'model',
        `Node "${message.name || message.output?.[0] || ''}" of graph "${graph.name}" names no operator.`,
        { suggestions: ['The model is damaged: export, copy or download it again.'] },
      )
    const node = new Node(
      graph.model.nextNodeId(),
      graph,
      message.op_type,
      domainName(message.domain),
      message.name ?? '',
      message.overload ?? '',
    )
    node.message = message
    node.origin = message.metadata_props?.find((entry) => entry.key === originKey)?.value
    for (const name of message.output ?? []) {
      const value = name === '' ? undefined : this.define(name, `an output of node "${node.label}"`)
      if (value) value.producer = node
      node.outputs.push(value)
    }
    return node
  }

  private connect(node: Node): void {
    const message = node.message as NodeMessage
    const names = message.input ?? []
    for (const [index, name] of names.slice(0, countGiven(names)).entries()) {
      const value = name === '' ? undefined : this.graph.findValue(name)
      if (name !== '' && !value)
        throw new AttncError(
          'DANGLING_INPUT',
          'model',
          `Input ${index} of node "${node.label}" (${node.op}) is "${name}", which nothing in the graph makes.`,
          {
            suggestions: [
              'The model is damaged, or a tool removed a node that is still needed: export it again.',
            ],
          },
        )
      node.inputs.push(value)
      value?.uses.add({ node, index })
    }
    for (const each of message.attribute ?? []) {
      const name = each.name ?? ''
      if (node.attributes.has(name))
        throw new AttncError(
          'DUPLICATE_DEFINITION',
          'model',
          `Node "${node.label}" (${node.op}) has the attribute "${name}" twice.`,
          { suggestions: ['Export the model again.'] },
        )
      node.attributes.set(name, this.attribute(each))
    }
    const output = node.outputs[0]
    const constant = node.op === 'Constant' && node.domain === '' ? constantOf(node) : undefined
    if (output && constant) {
      output.constant = constant
      output.type ??= { dataType: constant.dataType, dims: constant.dims }
    }
  }

  private *nodesReadBy(node: Node): IterableIterator<Node> {
    for (const value of valuesReadBy(node))
      if (value.producer && value.graph === this.graph) yield value.producer
  }

  private output(info: ValueInfoMessage): Value {
    const name = info.name ?? ''
    const value = this.graph.values.get(name)
    if (!value)
      throw new AttncError(
        this.graph.findValue(name) ? 'OUTER_VALUE_AS_OUTPUT' : 'DANGLING_OUTPUT',
        'model',
        this.graph.findValue(name)
          ? `Output "${name}" of the inner graph "${this.graph.name}" is a value of the graph around it; it must be made inside.`
          : `Output "${name}" of graph "${this.graph.name}" is made by no node.`,
        {
          suggestions: [
            'Export the model again, with an Identity node where a value is passed through.',
          ],
        },
      )
    if (!value.message) this.declare(value, info)
    return value
  }
}

/** What a node reads: its inputs and what the graphs inside it take from around them. */
export function* valuesReadBy(node: Node): IterableIterator<Value> {
  for (const input of node.inputs) if (input) yield input
  for (const inner of innerGraphs(node)) for (const each of inner.nodes()) yield* valuesReadBy(each)
}
