/**
 * A node in another graph. What is its own there (its place in the order, its links, where it came from) is left
 * to the caller.
 */
import { type Attribute, type Graph, Node, type Value } from './graph.js'

export interface NodeCopying {
  readonly name: string
  /** What stands for a value that it reads; undefined for an input that is left out. */
  readonly inputOf: (value: Value) => Value | undefined
  /** What it makes instead of a value. */
  readonly outputOf: (value: Value) => Value | undefined
  /** What stands for an attribute; undefined leaves it out. */
  readonly attributeOf: (attribute: Attribute) => Attribute | undefined
}

export function copyNode(node: Node, graph: Graph, copying: NodeCopying): Node {
  const { name, inputOf, outputOf, attributeOf } = copying
  const copy = new Node(graph.model.nextNodeId(), graph, node.op, node.domain, name, node.overload)
  for (const [key, attribute] of node.attributes) {
    const own = attributeOf(attribute)
    if (own) copy.attributes.set(key, own)
  }
  copy.inputs.push(...node.inputs.map((value) => value && inputOf(value)))
  for (const value of node.outputs) {
    const output = value && outputOf(value)
    if (output) output.producer = copy
    copy.outputs.push(output)
  }
  return copy
}
