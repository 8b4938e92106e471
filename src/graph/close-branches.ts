/**
 * Open branches put back, on a copy that is to be written: what only one branch of an If needs goes into it, under
 * the name that it had there. What others need too stays outside and runs in any case.
 */
import { copyMessage, type GraphMessage, type NodeMessage } from '../onnx/messages.js'
import { copyNode } from './copy-node.js'
import { copyAttribute } from './extract.js'
import {
  type Attribute,
  type Branch,
  Graph,
  innerGraphs,
  isOpened,
  Model,
  type Node,
  Value,
} from './graph.js'
import { valuesReadBy } from './graph-importer.js'
import { nodesInside } from './links.js'

/** The model itself where no branch stands open. */
export function closeBranches(model: Model): Model {
  const holders = [...model.graph.nodes()].filter(isOpened)
  return holders.length === 0 ? model : new Closing(model, holders).model
}

/** Constants of fewer bytes go with their only reader; larger ones are weights, which lie outside. */
const SMALL = 1024

class Closing {
  readonly model: Model
  private readonly source: Graph
  /** Open branches, and the graphs that are written for them. */
  private readonly graphs = new Map<Graph, Graph>()
  /** The branch that alone needs a node; absent: it stands outside. */
  private readonly places = new Map<Node, Graph>()
  /** The node of the source that holds a node inside it. */
  private readonly holders = new Map<Node, Node>()
  private readonly copies = new Map<Value, Value>()

  constructor(from: Model, holders: readonly Node[]) {
    this.source = from.graph
    this.model = new Model(from.graph.name)
    this.model.irVersion = from.irVersion
    this.model.message = from.message
    for (const [domain, version] of from.opsets) this.model.opsets.set(domain, version)
    for (const [key, value] of from.metadata) this.model.metadata.set(key, value)
    this.model.functions.push(...from.functions)
    this.model.graph.message = from.graph.message
    for (const branch of holders.flatMap((node) => [...innerGraphs(node)])) {
      if (!branch.branch) continue
      const copy = new Graph(branch.name, this.model, this.model.graph)
      copy.message = branch.message
      this.graphs.set(branch, copy)
    }
    this.findPlaces()
    this.copyAll()
  }

  /** From the last node to the first, so that all readers have their places before. */
  private findPlaces(): void {
    const nodes = [...this.source.nodes()]
    const behind = new Set<Node>()
    for (const node of nodes) {
      for (const inside of nodesInside(node)) this.holders.set(inside, node)
      const reads = [...valuesReadBy(node)].flatMap(({ producer }) => producer ?? [])
      if (isOpened(node) || reads.some((each) => behind.has(each))) behind.add(node)
    }
    for (const node of nodes.toReversed()) {
      if (isOpened(node)) continue
      const place = this.placeOf(
        node.outputs.flatMap((output) => output ?? []),
        // What reads results of the If never stood in it.
        behind.has(node) ? undefined : node.branch,
      )
      if (place) this.places.set(node, place)
    }
  }

  /** The branch that alone needs some of `values`; where nothing does, the one that they stood in. */
  private placeOf(values: readonly Value[], stood: Branch | undefined): Graph | undefined {
    if (values.some((value) => value.isGraphOutput)) return undefined
    const readers = values.flatMap(({ uses }) => [...uses].map(({ node }) => this.readerOf(node)))
    const [first] = readers
    if (readers.length === 0)
      return stood && [...this.graphs.keys()].find(({ branch }) => branch === stood)
    return readers.every((each) => each === first) ? first : undefined
  }

  private readerOf(node: Node): Graph | undefined {
    if (this.graphs.has(node.graph)) return node.graph
    return this.places.get(this.holders.get(node) ?? node)
  }

  /** Constants that stood in a branch, and small new ones, go with their only reader. */
  private placeOfConstant(value: Value): Graph | undefined {
    if (value.isGraphInput || initializersOf(this.source).has(value.name)) return undefined
    const stood = [...this.graphs.keys()].find((branch) =>
      initializersOf(branch).has(ownName(value, branch)),
    )
    const place = this.placeOf([value], stood?.branch)
    return place && (place === stood || (value.constant?.byteLength ?? 0) < SMALL)
      ? place
      : undefined
  }

  private copyAll(): void {
    const { source, model } = this
    const placed: [Value, Graph][] = []
    for (const value of source.values.values()) {
      const { producer } = value
      const place = producer ? this.places.get(producer) : this.placeOfConstant(value)
      if (place) placed.push([value, place])
      else this.copyValue(value, model.graph, value.name)
    }
    for (const [value, place] of placed) {
      const graph = this.graphs.get(place) as Graph
      const name = ownName(value, place)
      this.copyValue(value, graph, this.isFree(name, graph) ? name : value.name)
    }
    model.graph.inputs.push(...source.inputs.map(this.copyOf))
    for (const node of source.nodes()) {
      const place = this.places.get(node)
      this.copyNode(node, (place && this.graphs.get(place)) ?? model.graph)
    }
    model.graph.outputs.push(...source.outputs.map(this.copyOf))
  }

  /** Of names around, only those of the If's own results may come again, as they are made after it. */
  private isFree(name: string, graph: Graph): boolean {
    const around = this.model.graph.values.get(name)
    const original = around && this.source.values.get(name)?.producer
    const isOwn = [...(original ? innerGraphs(original) : [])].some(
      (inner) => this.graphs.get(inner) === graph,
    )
    return !graph.values.has(name) && (!around || isOwn)
  }

  private readonly copyOf = (value: Value): Value => this.copies.get(value) ?? value

  private copyValue(value: Value, graph: Graph, name: string): void {
    const copy = new Value(name, graph)
    copy.type = value.type
    copy.message = value.message
    copy.constant = value.constant
    graph.values.set(name, copy)
    this.copies.set(value, copy)
  }

  private copyNode(node: Node, graph: Graph): void {
    const copy = copyNode(node, graph, {
      name: node.name,
      inputOf: this.copyOf,
      outputOf: this.copyOf,
      attributeOf: (attribute) => this.copyAttribute(attribute, graph),
    })
    copy.message = this.messageOf(node, graph)
    copy.origin = node.origin
    graph.nodesById.append(copy)
  }

  private copyAttribute(attribute: Attribute, graph: Graph): Attribute | undefined {
    const branch = attribute.kind === 'graph' ? this.graphs.get(attribute.value) : undefined
    if (!branch || attribute.kind !== 'graph')
      return copyAttribute(attribute, graph, { copyOf: this.copyOf, prefix: '' })
    this.finish(attribute.value, branch)
    return { kind: 'graph', value: branch }
  }

  /** Outside, both branches' nodes stand beside each other: those of the second have names of their own. */
  private messageOf({ message, name, branch }: Node, graph: Graph): unknown {
    return graph === this.model.graph && branch?.isAgain && message
      ? copyMessage(message as NodeMessage, { name })
      : message
  }

  /** Results of a branch: what is made in it is one itself, the rest is handed on. */
  private finish(open: Graph, branch: Graph): void {
    for (const result of open.outputs) {
      const [source] = result.producer?.inputs ?? []
      const own = source && this.copyOf(source)
      if (own?.graph === branch && !branch.outputs.includes(own)) {
        branch.outputs.push(own)
        continue
      }
      if (!result.producer) continue
      this.copyValue(result, branch, result.name)
      this.copyNode(result.producer, branch)
      branch.outputs.push(this.copyOf(result))
    }
  }
}

/** The name that a value had in a branch. */
const ownName = ({ name }: Value, { branch }: Graph): string =>
  branch && name.startsWith(branch.prefix) ? name.slice(branch.prefix.length) : name

const known = new WeakMap<GraphMessage, ReadonlySet<string>>()

/** Names of the constants that a graph held in its file. */
function initializersOf(graph: Graph): ReadonlySet<string> {
  const message = (graph.message ?? {}) as GraphMessage
  const { initializer = [], sparse_initializer = [] } = message
  const found =
    known.get(message) ??
    new Set([
      ...initializer.map(({ name = '' }) => name),
      ...sparse_initializer.map(({ values }) => values?.name ?? ''),
    ])
  known.set(message, found)
  return found
}
