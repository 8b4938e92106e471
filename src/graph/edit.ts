/**
 * Transactional changes: a journal of inverse steps lets a failed edit leave the graph as it was.
 * The verbs are the only code that mutates a graph once it is imported.
 */
import type { DataType } from '../onnx/data-type.js'
import type { Tensor } from '../onnx/tensor.js'
import { assertLawful } from './check.js'
import {
  type Attribute,
  type Branch,
  type Graph,
  Node,
  type TensorType,
  type Use,
  Value,
} from './graph.js'
import { countGiven, graphsInside, isUse, link, nodesInside, unlink } from './links.js'

export interface NodeSpec {
  readonly op: string
  readonly domain?: string
  readonly name?: string
  readonly overload?: string
  readonly inputs: readonly (Value | undefined)[]
  /** Names of the outputs; made unique. undefined leaves an optional output out. */
  readonly outputs: readonly (string | undefined)[]
  readonly attributes?: Readonly<Record<string, Attribute>>
  /** The node stands before this one in the order; the end of the graph when absent. */
  readonly before?: Node | undefined
}

export class GraphEdit {
  private readonly journal: (() => void)[] = []
  /** Lists and orders of the graph as they were: put back whole, so that undoing is exact. */
  private readonly before: {
    readonly inputs: readonly Value[]
    readonly outputs: readonly Value[]
    readonly values: readonly Value[]
    readonly nodes: readonly Node[]
  }
  /** Names of inner graphs; gathered when the first new name is needed. */
  private innerNames: Set<string> | undefined
  /** The number that made a name unique last, so that many of one name are numbered in one pass. */
  private readonly lastNumbers = new Map<string, number>()

  constructor(
    readonly graph: Graph,
    readonly label: string,
  ) {
    this.before = {
      inputs: [...graph.inputs],
      outputs: [...graph.outputs],
      values: [...graph.values.values()],
      nodes: [...graph.nodes()],
    }
  }

  /** Adds a node of one output and returns that output. */
  add(
    op: string,
    inputs: readonly (Value | undefined)[],
    options: Omit<NodeSpec, 'op' | 'inputs' | 'outputs'> & { readonly output?: string } = {},
  ): Value {
    const { output, ...rest } = options
    const node = this.addNode({ op, inputs, outputs: [output ?? `${this.label}/${op}`], ...rest })
    return node.outputs[0] as Value
  }

  addNode(spec: NodeSpec): Node {
    const { graph } = this
    // Outputs have unique names, so a node named after its first output has one too.
    const outputs = spec.outputs.map((output) =>
      output === undefined ? undefined : this.newValue(output),
    )
    const name = spec.name ?? outputs.find((output) => output)?.name ?? spec.op
    const node = this.newNode(spec, name, spec.before?.branch ?? branchOf(spec.inputs))
    for (const value of outputs) {
      if (value) value.producer = node
      node.outputs.push(value)
    }
    graph.nodesById.insertBefore(node, spec.before)
    link(node)
    for (const inner of graphsInside(node))
      for (const inside of inner.values.keys()) this.innerNames?.add(inside)
    this.journal.push(() => unlink(node))
    return node
  }

  /** Another node makes the outputs of `node`, at its place: values, names and readers stay as they are. */
  replaceNode(
    node: Node,
    spec: Pick<NodeSpec, 'op' | 'domain' | 'overload' | 'inputs' | 'attributes'>,
  ): Node {
    const { graph } = this
    const made = this.newNode(spec, node.name, node.branch)
    made.outputs.push(...node.outputs)
    graph.nodesById.insertBefore(made, node)
    graph.nodesById.delete(node.id)
    const swap = (from: Node, to: Node): void => {
      unlink(from)
      link(to)
      for (const value of to.outputs) if (value) value.producer = to
    }
    swap(node, made)
    this.journal.push(() => swap(made, node))
    return made
  }

  /**
   * Puts a node between a node and all readers of one of its outputs, which keeps its name; returns the
   * value in between.
   */
  insertAfter(
    node: Node,
    index: number,
    spec: Pick<NodeSpec, 'op' | 'attributes'> & {
      readonly between: string
      /** What the node reads besides. */
      readonly inputs?: readonly Value[]
    },
  ): Value {
    const value = node.outputs[index]
    if (!value) throw new Error(`Node "${node.label}" has no output ${index}.`)
    const { graph } = this
    const between = this.newValue(spec.between)
    const inputs = [between, ...(spec.inputs ?? [])]
    const made = this.newNode({ ...spec, inputs }, between.name, node.branch)
    made.outputs.push(value)
    graph.nodesById.insertAfter(made, node)
    link(made)
    const connect = (output: Value, producer: Node): void => {
      node.outputs[index] = output
      value.producer = producer
    }
    connect(between, made)
    between.producer = node
    this.journal.push(() => {
      unlink(made)
      connect(value, node)
    })
    return between
  }

  /** Another node makes `value` from now on, in place of its own output `index`; who made it has that output no more. */
  moveOutput(value: Value, to: Node, index: number): void {
    const from = value.producer as Node
    const place = from.outputs.indexOf(value)
    const own = to.outputs[index] as Value
    const connect = (producer: Node, at: number, other: Node, otherAt: number): void => {
      producer.outputs[at] = value
      value.producer = producer
      other.outputs[otherAt] = undefined
    }
    this.graph.values.delete(own.name)
    connect(to, index, from, place)
    this.journal.push(() => connect(from, place, to, index))
  }

  /** A new initializer. */
  constant(tensor: Tensor, name = `${this.label}/constant`): Value {
    const value = this.newValue(name)
    value.constant = tensor
    value.type = { dataType: tensor.dataType, dims: tensor.dims }
    return value
  }

  /** A new graph input. */
  addInput(name: string, dataType: DataType, dims: TensorType['dims']): Value {
    const value = this.newValue(name)
    value.type = { dataType, dims }
    this.graph.inputs.push(value)
    return value
  }

  /** Takes a graph input away that nothing reads. */
  removeInput(input: Value): void {
    const at = this.graph.inputs.indexOf(input)
    if (at < 0 || input.uses.size > 0 || input.isGraphOutput) return
    this.graph.inputs.splice(at, 1)
    this.graph.values.delete(input.name)
  }

  setConstant(value: Value, tensor: Tensor): void {
    const { constant, type } = value
    value.constant = tensor
    value.type = { dataType: tensor.dataType, dims: tensor.dims }
    this.journal.push(() => {
      value.constant = constant
      value.type = type
    })
  }

  setType(value: Value, type: TensorType | undefined): void {
    const before = value.type
    value.type = type
    this.journal.push(() => {
      value.type = before
    })
  }

  /** Sets an attribute, or removes it when `attribute` is undefined. */
  setAttribute(node: Node, name: string, attribute: Attribute | undefined): void {
    const before = [...node.attributes]
    for (const inner of nodesInside(node)) unlink(inner)
    if (attribute) node.attributes.set(name, attribute)
    else node.attributes.delete(name)
    for (const inner of nodesInside(node)) link(inner)
    this.innerNames = undefined
    this.journal.push(() => {
      for (const inner of nodesInside(node)) unlink(inner)
      node.attributes.clear()
      for (const [key, value] of before) node.attributes.set(key, value)
      for (const inner of nodesInside(node)) link(inner)
    })
  }

  setInput(node: Node, index: number, value: Value | undefined): void {
    const before = [...node.inputs]
    this.relink(node, index, value)
    node.inputs.splice(countGiven(node.inputs))
    this.journal.push(() => {
      this.relink(node, index, before[index])
      node.inputs.splice(0, node.inputs.length, ...before)
    })
  }

  /** Every reader of `from` (those that `where` accepts) reads `to`; graph outputs keep their names. */
  replaceUses(from: Value, to: Value, where: (use: Use) => boolean = () => true): void {
    for (const use of [...from.uses]) if (where(use)) this.setInput(use.node, use.index, to)
  }

  /** Makes `value` a graph output, under its own name. */
  expose(value: Value): void {
    if (!value.isGraphOutput) this.graph.outputs.push(value)
  }

  /** Takes a graph output away (the value stays). */
  hide(value: Value): void {
    const at = this.graph.outputs.indexOf(value)
    if (at >= 0) this.graph.outputs.splice(at, 1)
  }

  /** Removes a node. Its outputs must be unread: the error says by whom they are read. */
  erase(node: Node): void {
    for (const output of node.outputs) {
      if (!output) continue
      const reader = [...output.uses][0]
      if (reader || output.isGraphOutput)
        throw new Error(
          `Cannot erase node "${node.label}": its output "${output.name}" is read by ${
            reader ? `node "${reader.node.label}"` : 'the graph, as an output'
          }.`,
        )
    }
    this.graph.nodesById.delete(node.id)
    for (const value of node.outputs) if (value) this.graph.values.delete(value.name)
    unlink(node)
    this.journal.push(() => link(node))
  }

  /** Removes an initializer that nothing reads. */
  eraseConstant(value: Value): void {
    if (value.uses.size > 0 || value.isGraphOutput || value.producer) return
    this.graph.values.delete(value.name)
  }

  /** Puts nodes in an order in which every value is made before it is read, as near as can be to the one they had. */
  sort(): void {
    const { nodesById } = this.graph
    const nodes = [...nodesById].map(([, node]) => node)
    nodesById.clear()
    const isLeft = new Set<Node>()
    const stack = nodes.toReversed().map((node) => ({ node, isReady: false }))
    for (let top = stack.pop(); top; top = stack.pop()) {
      const { node, isReady } = top
      if (isReady) nodesById.append(node)
      if (isReady || isLeft.has(node)) continue
      isLeft.add(node)
      stack.push({ node, isReady: true })
      const read = [...node.inputs, ...[...nodesInside(node)].flatMap(({ inputs }) => inputs)]
      for (const value of read.toReversed()) {
        const producer = value?.graph === this.graph ? value.producer : undefined
        if (producer && !isLeft.has(producer)) stack.push({ node: producer, isReady: false })
      }
    }
  }

  rollBack(): void {
    while (this.journal.length > 0) this.journal.pop()?.()
    const { graph, before } = this
    graph.inputs.splice(0, graph.inputs.length, ...before.inputs)
    graph.outputs.splice(0, graph.outputs.length, ...before.outputs)
    graph.values.clear()
    for (const value of before.values) graph.values.set(value.name, value)
    graph.nodesById.clear()
    for (const node of before.nodes) graph.nodesById.append(node)
  }

  /** In no order and linked to nothing yet, without outputs. */
  private newNode(
    { op, domain = '', overload, inputs, attributes = {} }: Omit<NodeSpec, 'outputs'>,
    name: string,
    branch: Branch | undefined,
  ): Node {
    const { graph, label } = this
    const node = new Node(graph.model.nextNodeId(), graph, op, domain, name, overload)
    node.origin = label
    node.branch = branch
    for (const [key, attribute] of Object.entries(attributes)) node.attributes.set(key, attribute)
    node.inputs.push(...inputs.slice(0, countGiven(inputs)))
    return node
  }

  private newValue(name: string): Value {
    let unique = name
    let n = this.lastNumbers.get(name) ?? 0
    while (this.graph.findValue(unique) || this.isUsedInside(unique)) unique = `${name}_${++n}`
    this.lastNumbers.set(name, n)
    const value = new Value(unique, this.graph)
    this.graph.values.set(unique, value)
    return value
  }

  /** A new outer name may not be one of an inner graph: scopes don't shadow each other. */
  private isUsedInside(name: string): boolean {
    this.innerNames ??= new Set(
      [...this.graph.nodes()].flatMap((node) =>
        [...graphsInside(node)].flatMap((inner) => [...inner.values.keys()]),
      ),
    )
    return this.innerNames.has(name)
  }

  private relink(node: Node, index: number, value: Value | undefined): void {
    const before = node.inputs[index]
    if (before) for (const use of before.uses) if (isUse(use, node, index)) before.uses.delete(use)
    while (node.inputs.length <= index) node.inputs.push(undefined)
    node.inputs[index] = value
    value?.uses.add({ node, index })
  }
}

/** What works on results of a branch stands in it too. */
const branchOf = (inputs: NodeSpec['inputs']): Branch | undefined =>
  inputs.flatMap((input) => input?.producer?.branch ?? [])[0]

/**
 * Runs `change` on `graph`. If it throws, or leaves a graph that breaks a law (check.ts), everything
 * it did is undone and the error goes on.
 */
export function edit<Result>(
  graph: Graph,
  label: string,
  change: (edit: GraphEdit) => Result,
): Result {
  const transaction = new GraphEdit(graph, label)
  try {
    const result = change(transaction)
    assertLawful(graph.model, `The edit "${label}"`)
    return result
  } catch (error) {
    transaction.rollBack()
    throw error
  }
}
