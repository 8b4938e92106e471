/**
 * Which nodes become one: those that hand each other rows of the same sizes, as many as fit the operator's ports,
 * where nothing of them is needed outside before all that they need is there.
 */
import { type PortKind, portCounts, portKinds } from '../../../kernels/row-program/program.js'
import type { Node, Value } from '../../graph/graph.js'
import { regionReads } from './region-reads.js'
import type { RowWork } from './row-work.js'

/** Further apart in the order of the graph, nodes have nothing to do with each other: a look far back finds nothing. */
const REACH = 400
const MOST_NODES = 60

export interface Region {
  readonly nodes: readonly Node[]
  /** [..., columns] */
  readonly dims: readonly number[]
}

interface Unit {
  nodes: Node[]
  dims: readonly number[]
  first: number
  last: number
}

const leading = (dims: readonly number[]): string => String(dims.slice(0, -1))

/** `kindOf`: the port that a value needs, by its type. */
export class Regions {
  private readonly places: ReadonlyMap<Node, number>
  private readonly units = new Map<Node, Unit>()

  constructor(
    private readonly nodes: readonly Node[],
    private readonly works: ReadonlyMap<Node, RowWork>,
    private readonly kindOf: (value: Value) => 'narrow' | 'wide',
  ) {
    this.places = new Map(nodes.map((node, place) => [node, place]))
  }

  find(): Region[] {
    for (const node of this.nodes) {
      const work = this.works.get(node)
      if (!work) continue
      const place = this.places.get(node) as number
      let own: Unit = { nodes: [node], dims: work.dims, first: place, last: place }
      this.units.set(node, own)
      const before = new Set(
        work.operands.flatMap(({ producer }) => (producer && this.units.get(producer)) ?? []),
      )
      for (const unit of [...before].sort((a, b) => b.last - a.last)) {
        const merged = this.merge(unit, own)
        if (!merged) continue
        own = merged
        for (const each of merged.nodes) this.units.set(each, merged)
      }
    }
    return [...new Set(this.units.values())]
  }

  private merge(a: Unit, b: Unit): Unit | undefined {
    if (a === b || leading(a.dims) !== leading(b.dims) || b.last - a.first > REACH) return undefined
    const [one = 1, other = 1] = [a.dims.at(-1), b.dims.at(-1)]
    if (one !== other && one !== 1 && other !== 1) return undefined
    const nodes = [...a.nodes, ...b.nodes]
    const unit: Unit = {
      nodes: nodes.sort((x, y) => (this.places.get(x) ?? 0) - (this.places.get(y) ?? 0)),
      dims: one === 1 ? b.dims : a.dims,
      first: Math.min(a.first, b.first),
      last: Math.max(a.last, b.last),
    }
    return nodes.length <= MOST_NODES && this.fits(unit) && !this.needsItself(unit)
      ? unit
      : undefined
  }

  /** Whether the ports are enough. */
  private fits({ nodes }: Unit): boolean {
    const own = new Set(nodes)
    const inputs = new Map<Value, PortKind>()
    const outputs = new Map<Value, PortKind>()
    const { operands, apart } = regionReads(nodes, this.works)
    for (const operand of operands) inputs.set(operand, this.kindOf(operand))
    for (const { value, kind } of apart) inputs.set(value, kind ?? this.kindOf(value))
    for (const node of nodes) {
      // Graph outputs are needed outside too, whoever else reads them.
      for (const output of node.outputs)
        if (output && (output.isGraphOutput || [...output.uses].some((use) => !own.has(use.node))))
          outputs.set(output, this.kindOf(output))
    }
    // Without half precision, the operator's own type is float32.
    const isWide = ![...inputs.values()].includes('narrow')
    const count = (values: Map<Value, PortKind>, kind: PortKind): number =>
      [...values.values()].filter((each) => (isWide && each === 'wide' ? 'narrow' : each) === kind)
        .length
    return portKinds.every(
      (kind) =>
        count(inputs, kind) <= portCounts[kind].inputs &&
        count(outputs, kind) <= portCounts[kind].outputs,
    )
  }

  /** Whether something outside lies on a way from one of the nodes to another, or memory does. */
  private needsItself(unit: Unit): boolean {
    const own = new Set(unit.nodes)
    const { apart } = regionReads(unit.nodes, this.works)
    if (apart.some(({ value }) => value.producer && own.has(value.producer))) return true
    const seen = new Set<Node>()
    const queue = [...own].flatMap((node) => this.producers(node)).filter((node) => !own.has(node))
    for (let node = queue.pop(); node; node = queue.pop()) {
      if (own.has(node)) return true
      if (seen.has(node)) continue
      const other = this.units.get(node)
      const members = other ? other.nodes : [node]
      for (const each of members) seen.add(each)
      const last = other?.last ?? (this.places.get(node) as number)
      if (last < unit.first) continue
      for (const each of members) queue.push(...this.producers(each))
    }
    return false
  }

  private producers(node: Node): Node[] {
    return node.inputs.flatMap((input) => input?.producer ?? [])
  }
}
