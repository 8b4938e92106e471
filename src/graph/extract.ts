/**
 * A part of a model as a model of its own: the nodes that certain values need, cut off where values
 * are to be fed. Constants are shared, not copied; the original is not touched.
 */
import { AttncError } from '../errors.js'
import { copyNode } from './copy-node.js'
import {
  type Attribute,
  Graph,
  type LocalFunction,
  Model,
  type Node,
  type TensorType,
  Value,
} from './graph.js'
import { nodesInside } from './links.js'

/**
 * The nodes that make `outputs`. Values in `cuts` become inputs of the type given; inputs of the
 * original that are still needed stay inputs.
 */
export function extractSubgraph(
  source: Graph,
  cuts: ReadonlyMap<Value, TensorType>,
  outputs: readonly Value[],
): Model {
  const from = source.model
  const model = new Model(`${source.name}/part`)
  model.irVersion = from.irVersion
  for (const [domain, version] of from.opsets) model.opsets.set(domain, version)
  model.functions.push(...from.functions)
  model.graph.outputs.push(...copyPart(source, cuts, outputs, { graph: model.graph, prefix: '' }))
  return model
}

/**
 * The nodes that make `outputs` beside what `graph` has already. Names get the prefix, but inputs of the
 * same name and type are one. The copies of `outputs` are returned, and exposed nowhere. Error: OPSET_MISMATCH.
 */
export function addSubgraph(
  graph: Graph,
  source: Graph,
  outputs: readonly Value[],
  prefix: string,
): Value[] {
  const { model } = graph
  const from = source.model
  for (const [domain, version] of from.opsets) {
    const own = model.opsets.get(domain) ?? version
    if (own !== version)
      throw new AttncError(
        'OPSET_MISMATCH',
        'usage',
        `One model has opset ${own} of ${domain || 'ai.onnx'}, the other ${version}; in one graph there can be one.`,
        { suggestions: ['Export both with the same opset.'] },
      )
    model.opsets.set(domain, version)
  }
  const isKnown = ({ name, domain, overload }: LocalFunction): boolean =>
    model.functions.some(
      (each) => each.name === name && each.domain === domain && each.overload === overload,
    )
  model.functions.push(...from.functions.filter((each) => !isKnown(each)))
  model.irVersion = Math.max(model.irVersion, from.irVersion)
  return copyPart(source, new Map(), outputs, { graph, prefix })
}

function copyPart(
  source: Graph,
  cuts: ReadonlyMap<Value, TensorType>,
  outputs: readonly Value[],
  { graph, prefix }: { readonly graph: Graph; readonly prefix: string },
): Value[] {
  const needed = neededNodes(source, cuts, outputs)
  const copies = new Map<Value, Value>()
  const copyOf = (value: Value): Value => {
    const known = copies.get(value) ?? sharedInput(value)
    if (known) return known
    const copy = new Value(`${prefix}${value.name}`, graph)
    copies.set(value, copy)
    graph.values.set(copy.name, copy)
    const cut = cuts.get(value)
    copy.type = cut ?? value.type
    if (cut || (!value.producer && !value.constant)) graph.inputs.push(copy)
    else if (!value.producer) copy.constant = value.constant
    return copy
  }
  const sharedInput = (value: Value): Value | undefined => {
    const other = value.isGraphInput ? graph.values.get(value.name) : undefined
    return other?.isGraphInput && isSameType(other, value) ? other : undefined
  }
  for (const node of source.nodes())
    if (needed.has(node))
      addCopy(node, node.name && `${prefix}${node.name}`, graph, cuts, { copyOf, prefix: '' })
  return outputs.map(copyOf)
}

const isSameType = ({ type: one }: Value, { type: other }: Value): boolean =>
  one?.dataType === other?.dataType && String(one?.dims) === String(other?.dims)

function addCopy(
  node: Node,
  name: string,
  graph: Graph,
  cuts: ReadonlyMap<Value, TensorType>,
  copying: Copying,
): void {
  const copy = copyNode(node, graph, {
    name,
    inputOf: copying.copyOf,
    outputOf: (value) => {
      const output = cuts.has(value) ? unread(value, graph) : copying.copyOf(value)
      if (output) output.constant = value.constant
      return output
    },
    attributeOf: (attribute) => copyAttribute(attribute, graph, copying),
  })
  for (const [index, input] of copy.inputs.entries()) input?.uses.add({ node: copy, index })
  // A node that is renamed is written anew.
  copy.message = name === node.name ? node.message : undefined
  copy.branch = node.branch
  graph.nodesById.append(copy)
}

/** A result that is fed instead, beside one that is needed: operators may not leave it out. */
function unread(value: Value, graph: Graph): Value {
  const copy = new Value(`${value.name}/unread`, graph)
  copy.type = value.type
  graph.values.set(copy.name, copy)
  return copy
}

function neededNodes(
  source: Graph,
  cuts: ReadonlyMap<Value, TensorType>,
  outputs: readonly Value[],
): Set<Node> {
  const needed = new Set<Node>()
  const queue = [...outputs]
  for (let at = 0; at < queue.length; at++) {
    const value = queue[at] as Value
    const node = cuts.has(value) ? undefined : value.producer
    if (!node || needed.has(node) || node.graph !== source) continue
    needed.add(node)
    for (const input of node.inputs) if (input) queue.push(input)
    queue.push(...captured(node))
  }
  return needed
}

/** How a node with graphs inside it comes into another graph. */
export interface Copying {
  /** What stands for a value of the graph around it; undefined for an input that is left out. */
  readonly copyOf: (value: Value) => Value | undefined
  /** Before the names of what is inside: these have to differ from all names around them. */
  readonly prefix: string
  /** What stands for an attribute; undefined leaves it out. */
  readonly bind?: (attribute: Attribute) => Attribute | undefined
}

/** Graphs inside a node are copied too: what they read from around them is in another graph now. */
export function copyAttribute(
  attribute: Attribute,
  outer: Graph,
  copying: Copying,
): Attribute | undefined {
  const bound = copying.bind ? copying.bind(attribute) : attribute
  const copyGraph = (inner: Graph): Graph => copyInner(inner, outer, copying)
  if (bound?.kind === 'graph') return { kind: 'graph', value: copyGraph(bound.value) }
  if (bound?.kind === 'graphs') return { kind: 'graphs', value: bound.value.map(copyGraph) }
  return bound
}

function copyInner(inner: Graph, outer: Graph, around: Copying): Graph {
  const { prefix } = around
  const graph = new Graph(inner.name, outer.model, outer)
  graph.message = inner.message
  graph.branch = inner.branch
  const copies = new Map<Value, Value>()
  for (const value of inner.values.values()) {
    const copy = new Value(`${prefix}${value.name}`, graph)
    copy.type = value.type
    copy.message = prefix === '' ? value.message : undefined
    copy.constant = value.constant
    copies.set(value, copy)
    graph.values.set(copy.name, copy)
  }
  const copyOf = (value: Value): Value | undefined => copies.get(value) ?? around.copyOf(value)
  const own = (values: readonly Value[]): Value[] => values.flatMap((each) => copyOf(each) ?? [])
  graph.inputs.push(...own(inner.inputs))
  for (const node of inner.nodes())
    addCopy(node, node.name && `${prefix}${node.name}`, graph, new Map(), { ...around, copyOf })
  graph.outputs.push(...own(inner.outputs))
  return graph
}

/** Values of the graph around a node that its inner graphs read, at any depth. */
export function* captured(node: Node): IterableIterator<Value> {
  for (const each of nodesInside(node))
    for (const value of each.inputs) if (value && value.graph === node.graph) yield value
}
