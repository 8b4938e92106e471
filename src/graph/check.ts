/**
 * The law of the IR for a model in memory: a name has one definition, a value is made before it is read,
 * links agree in both directions, types fit constants. It runs when an edit commits and before a model
 * is saved, so a violation is a fault of attnc and not of the file: files are judged on import.
 * What a file may have and runtimes bear with is a note: unknown domains, names that hide outer ones.
 */
import { AttncError } from '../errors.js'
import {
  type Attribute,
  type Graph,
  innerGraphs,
  type Model,
  type Node,
  type Value,
} from './graph.js'

export interface Finding {
  /** The node or value that it is about. */
  readonly at: string
  readonly text: string
}

export interface Findings {
  readonly violations: readonly Finding[]
  readonly notes: readonly Finding[]
}

/** Error: GRAPH_LAW with the first violations. */
export function assertLawful(model: Model, what: string): void {
  const { violations } = checkModel(model)
  if (violations.length === 0) return
  const [first, ...rest] = violations.map(({ at, text }) => `"${at}" ${text}`)
  throw new AttncError(
    'GRAPH_LAW',
    'unexpected',
    `${what} breaks a law of ONNX: ${first}${rest.length > 0 ? ` (and ${rest.length} more)` : ''}.`,
    { suggestions: ['Nothing was written. Please report the model: this is a fault of attnc.'] },
  )
}

/** Everything that is wrong with a model, or merely odd. One walk over its nodes. */
export function checkModel(model: Model): Findings {
  const checker = new Checker(model)
  checker.checkAll()
  return checker
}

class Checker implements Findings {
  readonly violations: Finding[] = []
  readonly notes: Finding[] = []
  /** How often each value is read; compared with its links at the end. */
  private readonly reads = new Map<Value, number>()
  private opsets: ReadonlyMap<string, number>
  private isFunction = false

  constructor(private readonly model: Model) {
    this.opsets = model.opsets
  }

  checkAll(): void {
    const { model } = this
    this.checkGraph(model.graph, new Set())
    const known = new Set<string>()
    for (const { domain, name, overload, opsets, body } of model.functions) {
      const key = `${domain}.${name}${overload ? `:${overload}` : ''}`
      if (known.has(key)) this.violate(key, 'is a function that is defined twice')
      known.add(key)
      this.opsets = opsets
      this.isFunction = true
      this.checkGraph(body, new Set())
    }
    for (const [value, count] of this.reads)
      if (value.uses.size !== count)
        this.violate(
          value.name,
          `is read ${count} times, and ${value.uses.size} readers are linked`,
        )
  }

  /** `made`: values of the graphs around this one that exist when its node runs. */
  private checkGraph(graph: Graph, made: ReadonlySet<Value>): void {
    const defined = new Set(made)
    for (const [name, value] of graph.values) this.checkValue(graph, name, value)
    for (const input of graph.inputs) {
      if (graph.values.get(input.name) !== input)
        this.violate(input.name, 'is an input that the graph does not hold')
      if (defined.has(input)) this.violate(input.name, 'is an input twice')
      defined.add(input)
    }
    for (const value of graph.initializers()) defined.add(value)
    for (const [id, node] of graph.nodesById) {
      if (node.id !== id || node.graph !== graph)
        this.violate(node.label, 'is held by a graph that is not its own')
      this.checkNode(node, defined)
    }
    for (const output of graph.outputs)
      if (graph.values.get(output.name) !== output || !defined.has(output))
        this.violate(output.name, 'is an output that nothing in the graph makes')
  }

  private checkValue(graph: Graph, name: string, value: Value): void {
    if (value.name !== name || value.graph !== graph || name === '')
      this.violate(name, 'is kept under a name or in a graph that is not its own')
    if (graph.outer?.findValue(name)) this.note(name, 'hides a value of the graph around it')
    const { producer, constant, type } = value
    if (producer && graph.nodesById.get(producer.id) !== producer)
      this.violate(name, 'is made by a node that is gone')
    if (!this.reads.has(value)) this.reads.set(value, 0)
    if (!constant || !type) return
    const isFitting =
      (type.dataType === undefined || type.dataType === constant.dataType) &&
      (type.dims === undefined ||
        (type.dims.length === constant.dims.length &&
          type.dims.every((dim, axis) => typeof dim !== 'number' || dim === constant.dims[axis])))
    if (isFitting) return
    const text = `is declared ${type.dataType} [${type.dims}], and its constant is ${constant.dataType} [${constant.dims}]`
    // A type with a message is the file's own: runtimes warn and take the constant's.
    if (type.message) this.note(name, text)
    else this.violate(name, text)
  }

  private checkNode(node: Node, defined: Set<Value>): void {
    if (node.op === '') this.violate(node.label, 'has no operator')
    this.checkDomain(node)
    for (const value of node.inputs) if (value) this.checkRead(node, value, defined)
    for (const [name, attribute] of node.attributes) this.checkAttribute(node, name, attribute)
    for (const inner of innerGraphs(node)) {
      if (inner.outer !== node.graph)
        this.violate(node.label, `holds the graph "${inner.name}" of another place`)
      this.checkGraph(inner, defined)
    }
    for (const value of node.outputs) {
      if (!value) continue
      if (defined.has(value)) this.violate(value.name, 'is defined twice')
      if (value.producer !== node || node.graph.values.get(value.name) !== value)
        this.violate(value.name, `is not linked to "${node.label}", which makes it`)
      defined.add(value)
    }
  }

  private checkRead(node: Node, value: Value, defined: ReadonlySet<Value>): void {
    this.reads.set(value, (this.reads.get(value) ?? 0) + 1)
    if (node.graph.findValue(value.name) !== value)
      this.violate(node.label, `reads "${value.name}", which is not there`)
    else if (!defined.has(value))
      this.violate(node.label, `reads "${value.name}" before it is made`)
  }

  /** A file may forget to import the domain of a custom operator; attnc may not. */
  private checkDomain(node: Node): void {
    if (this.opsets.has(node.domain) || this.model.irVersion < 3) return
    const text = `is of the domain "${node.domain || 'ai.onnx'}", which is not imported`
    if (node.message) this.note(node.label, text)
    else this.violate(node.label, text)
  }

  private checkAttribute(node: Node, name: string, attribute: Attribute): void {
    if (attribute.kind === 'reference' && !this.isFunction)
      this.violate(node.label, `refers to the attribute "${attribute.value}" of no function`)
    if (attribute.kind === 'int' && BigInt.asIntN(64, attribute.value) !== attribute.value)
      this.violate(node.label, `has "${name}" = ${attribute.value}, which needs more than 64 bits`)
  }

  private violate(at: string, text: string): void {
    this.violations.push({ at, text })
  }

  private note(at: string, text: string): void {
    this.notes.push({ at, text })
  }
}
