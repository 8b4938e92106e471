/**
 * Transactional changes: a journal of inverse steps lets a failed edit leave the graph as it was.
 * The verbs are the only code that mutates a graph once it is imported.
 */
import { assertLawful } from './check.js'
import { type Attribute, type Branch, type Graph, Node, type Use, type Value } from './graph.js'
import { countGiven, link, nodesInside, relink, unlink } from './links.js'
import { resort } from './resort.js'
import { Snapshot } from './snapshot.js'
import { ValueEdit } from './value-edit.js'

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

export class GraphEdit extends ValueEdit {
  private readonly before = new Snapshot(this.graph)

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
    this.names.noteInside(node)
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

  /**
   * Another node makes `value` from now on, in place of its own output `index`; who made it has
   * that output no more.
   */
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

  /** Sets an attribute, or removes it when `attribute` is undefined. */
  setAttribute(node: Node, name: string, attribute: Attribute | undefined): void {
    const before = [...node.attributes]
    for (const inner of nodesInside(node)) unlink(inner)
    if (attribute) node.attributes.set(name, attribute)
    else node.attributes.delete(name)
    for (const inner of nodesInside(node)) link(inner)
    this.names.forgetInside()
    this.journal.push(() => {
      for (const inner of nodesInside(node)) unlink(inner)
      node.attributes.clear()
      for (const [key, value] of before) node.attributes.set(key, value)
      for (const inner of nodesInside(node)) link(inner)
    })
  }

  setInput(node: Node, index: number, value: Value | undefined): void {
    const before = [...node.inputs]
    relink(node, index, value)
    node.inputs.splice(countGiven(node.inputs))
    this.journal.push(() => {
      relink(node, index, before[index])
      node.inputs.splice(0, node.inputs.length, ...before)
    })
  }

  /** Every reader of `from` (those that `where` accepts) reads `to`; graph outputs keep their names. */
  replaceUses(from: Value, to: Value, where: (use: Use) => boolean = () => true): void {
    for (const use of [...from.uses]) if (where(use)) this.setInput(use.node, use.index, to)
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

  /** Puts nodes in an order in which every value is made before it is read, as near as can be to the one they had. */
  sort(): void {
    resort(this.graph)
  }

  rollBack(): void {
    while (this.journal.length > 0) this.journal.pop()?.()
    this.before.restore()
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
