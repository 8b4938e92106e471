/**
 * The graph in memory: values, nodes, graphs and the model around them, with exact def–use links.
 * Reading is free; every change goes through `edit` (edit.ts), which journals it.
 * Node attributes may hold graphs (If, Loop, Scan): their nodes see the values of the graphs around them.
 */
import type { DataType } from '../onnx/data-type.js'
import type { Tensor } from '../onnx/tensor.js'
import { NodeList } from './node-list.js'

/** A size that is known, or the name of one that is not. `undefined`: nothing is known. */
export type Dim = number | string | undefined

export interface TensorType {
  /** undefined: a type that is not a tensor (sequence, map, optional) or not known. */
  readonly dataType: DataType | undefined
  /** undefined: the rank is not known. */
  readonly dims: readonly Dim[] | undefined
  /** The TypeProto it was read from; kept for types that are not tensors. */
  readonly message?: unknown
}

export type Attribute =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'string'; readonly value: Uint8Array }
  | { readonly kind: 'tensor'; readonly value: Tensor }
  | { readonly kind: 'graph'; readonly value: Graph }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly bigint[] }
  | { readonly kind: 'strings'; readonly value: readonly Uint8Array[] }
  | { readonly kind: 'tensors'; readonly value: readonly Tensor[] }
  | { readonly kind: 'graphs'; readonly value: readonly Graph[] }
  /** A reference to an attribute of the function around the node, in a function's body. */
  | { readonly kind: 'reference'; readonly value: string; readonly message: unknown }
  /** sparse_tensor, type_proto and kinds of later formats: carried, not understood. */
  | { readonly kind: 'other'; readonly message: unknown }

/** One input slot of a node. */
export interface Use {
  readonly node: Node
  readonly index: number
}

/** A tensor between nodes: a graph input, a constant, or an output of `producer`. */
export class Value {
  type: TensorType | undefined
  producer: Node | undefined
  constant: Tensor | undefined
  /** Input slots that read it, in this graph and in graphs inside it. */
  readonly uses = new Set<Use>()
  /** The ValueInfoProto it was declared by, for what attnc does not read in it. */
  message: unknown

  constructor(
    readonly name: string,
    readonly graph: Graph,
  ) {}

  get isGraphInput(): boolean {
    return this.graph.inputs.includes(this)
  }

  get isGraphOutput(): boolean {
    return this.graph.outputs.includes(this)
  }
}

/** A branch of an If whose nodes stand open in the graph around it; see open-branches.ts. */
export interface Branch {
  /** Before the names of what stood in it, where it got another one. */
  readonly prefix: string
  /** Whether the other branch holds its weights too: the two are one model, and roles are read from the other. */
  readonly isAgain: boolean
}

/** An operator with its operands; it belongs to one graph for good. */
export class Node {
  /** Empty slots of optional inputs and outputs are undefined. */
  readonly inputs: (Value | undefined)[] = []
  readonly outputs: (Value | undefined)[] = []
  readonly attributes = new Map<string, Attribute>()
  /** The label of the edit that made it. */
  origin: string | undefined
  /** The NodeProto it was read from: doc string, metadata and unknown fields. */
  message: unknown
  /** Where it stood in the file, or stands beside what stood there. */
  branch: Branch | undefined

  constructor(
    readonly id: number,
    readonly graph: Graph,
    /** `Add`, `MatMul` … */
    readonly op: string,
    /** '' is ai.onnx. */
    readonly domain: string,
    readonly name: string,
    readonly overload: string = '',
  ) {}

  /** `Add`, `com.microsoft.FastGelu`: what tables of rules know it by. */
  get operatorName(): string {
    return this.domain === '' ? this.op : `${this.domain}.${this.op}`
  }

  /** For messages: the node's own name, or one made of its operator and first output. */
  get label(): string {
    return this.name || `${this.op} → ${this.outputs.find((output) => output)?.name ?? this.id}`
  }
}

/** The main graph, one inside of a node, or the body of a function; `edit` changes it. */
export class Graph {
  readonly inputs: Value[] = []
  readonly outputs: Value[] = []
  /** Every value defined in this graph, by name: inputs, initializers and node outputs. */
  readonly values = new Map<string, Value>()
  /** Nodes by id, in an order in which every value is made before it is read. */
  readonly nodesById = new NodeList()
  message: unknown
  /** Value infos of names that the graph doesn't define; carried along. */
  readonly strayInfos = new Set<unknown>()
  /** Set where this is a branch that stands open: it hands on what the graph around it makes. */
  branch: Branch | undefined

  constructor(
    readonly name: string,
    readonly model: Model,
    /** The graph whose node holds this one, if any. */
    readonly outer: Graph | undefined = undefined,
  ) {}

  nodes(): IterableIterator<Node> {
    return this.nodesById.values()
  }

  /** The value of that name here or in a graph around this one. */
  findValue(name: string): Value | undefined {
    return this.values.get(name) ?? this.outer?.findValue(name)
  }

  /** Initializers: constants that are stored in the graph itself, not made by a Constant node. */
  *initializers(): IterableIterator<Value> {
    for (const value of this.values.values()) if (value.constant && !value.producer) yield value
  }
}

/** A model-local function; its body is a graph whose inputs and outputs have no types. */
export interface LocalFunction {
  readonly domain: string
  readonly name: string
  readonly overload: string
  readonly body: Graph
  readonly opsets: ReadonlyMap<string, number>
  /** Attributes without and with a default value. */
  readonly attributes: readonly string[]
  readonly defaults: ReadonlyMap<string, Attribute>
  readonly message: unknown
}

/** What a file holds: a graph, the functions that its nodes may call, and what versions of operators they mean. */
export class Model {
  irVersion = 10
  readonly opsets = new Map<string, number>()
  readonly metadata = new Map<string, string>()
  readonly functions: LocalFunction[] = []
  graph: Graph
  /** The ModelProto it was read from. */
  message: unknown
  private lastNodeId = 0

  constructor(graphName = 'main') {
    this.graph = new Graph(graphName, this)
  }

  /** Ids are never reused, also across graphs of the model. */
  nextNodeId(): number {
    return ++this.lastNodeId
  }

  findFunction(node: Node): LocalFunction | undefined {
    return this.functions.find(
      (f) => f.domain === node.domain && f.name === node.op && f.overload === node.overload,
    )
  }
}

/** The integer attribute of that name, as a number; `fallback` where it is absent. */
export function intAttribute(node: Node, name: string, fallback: number): number
export function intAttribute(node: Node, name: string): number | undefined
export function intAttribute(node: Node, name: string, fallback?: number): number | undefined {
  const attribute = node.attributes.get(name)
  return attribute?.kind === 'int' ? Number(attribute.value) : fallback
}

export function intsAttribute(node: Node, name: string): readonly number[] | undefined {
  const attribute = node.attributes.get(name)
  return attribute?.kind === 'ints' ? attribute.value.map(Number) : undefined
}

export function floatAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name)
  return attribute?.kind === 'float' ? attribute.value : fallback
}

export function stringAttribute(node: Node, name: string): string | undefined {
  const attribute = node.attributes.get(name)
  return attribute?.kind === 'string' ? new TextDecoder().decode(attribute.value) : undefined
}

/** Readers of a value, without those of a branch that does again what another one does. */
export const firstUses = (value: Value): Use[] =>
  [...value.uses].filter(({ node }) => !node.branch?.isAgain)

/** Whether a value is an output of the graph, or of a branch that stands open in it. */
export const isResult = (value: Value): boolean =>
  value.isGraphOutput || [...value.uses].some(({ node }) => node.graph.branch)

/** Graphs held by a node's attributes. */
export function* innerGraphs(node: Node): IterableIterator<Graph> {
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === 'graph') yield attribute.value
    if (attribute.kind === 'graphs') yield* attribute.value
  }
}

/** Whether a node is an If whose branches stand open; see open-branches.ts. */
export const isOpened = (node: Node): boolean => [...innerGraphs(node)].some(({ branch }) => branch)
