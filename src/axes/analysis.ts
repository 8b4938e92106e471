/**
 * Runs the axis rules over a graph and keeps what they found: the axes of every value, where axes
 * are contracted, and what stands in the way. Values are visited once, in order; structure that
 * turns up later refines what was joined before, as it lives in the axes (axis.ts).
 */
import { type Graph, innerGraphs, type Node, type Value } from '../graph/graph.js'
import { whyNotWritten } from '../graph/write-call.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import { reachableGraphs } from '../shape/reachable.js'
import { Axis, leavesOf } from './axis.js'
import { findCopies } from './copies.js'
import { EdgeSums } from './edge-sums.js'
import type { AxisRule, Operand, RuleContext } from './rule.js'
import { contextOf } from './rule-context.js'
import { findAxisRule } from './rules/index.js'
import { findScaffolds, type ScaffoldRead } from './scaffold.js'
import { openSeam, type Seam } from './seam.js'
import { settleNotes } from './settle.js'
import { findShifts } from './shift.js'
import { type ConstantAxes, isSharedVector, Slots } from './slots.js'
import { unify } from './unify.js'

export type { ConstantAxes } from './slots.js'

/** Axes that are multiplied and summed away at a node. */
export interface Contraction {
  readonly node: Node
  readonly operands: readonly (Operand & { readonly what: Axis })[]
  /** What each member counts in a mean; 1 in a sum. */
  readonly share?: number
}

interface Mean {
  readonly node: Node
  readonly text: string
  readonly operand: Operand & { readonly what: Axis }
}

export class AxisAnalysis {
  readonly contractions: Contraction[] = []
  /** Nodes without a rule, or whose shapes are not known. */
  readonly unrecognised: { readonly node: Node; readonly reason: string }[] = []
  /** Axes that a rule named at a node: heads and head sizes of fused attention. */
  readonly recorded = new Map<Node, Readonly<Record<string, Axis>>>()
  /** Sums over edges, and which rows indices pick. */
  readonly sums: EdgeSums
  /** Nodes whose results cancel. */
  readonly shifts: ReadonlySet<Node>
  /**
   * Weights of which the graph holds several of the same numbers, each with the first: they are cut
   * alike, and stay so.
   */
  readonly copies = new Map<Value, Value>()
  /** Means that are sums where projections made what is summed; decided at the end. */
  readonly means: Mean[] = []
  private readonly slots: Slots
  private readonly byValue = new Map<Value, readonly Axis[]>()
  private readonly constants = new Set<Value>()

  constructor(
    readonly graph: Graph,
    readonly shapes: ShapeInfo,
    seams: ReadonlySet<Value>,
  ) {
    this.sums = new EdgeSums(shapes)
    this.shifts = findShifts(graph, this.sums)
    this.slots = new Slots(shapes, findScaffolds(graph, shapes), (value) => this.axes(value))
    this.findConstants()
    for (const node of graph.nodes()) {
      this.relate(node)
      for (const value of node.outputs) if (value && seams.has(value)) this.sew(value)
    }
    this.joinCopies()
    settleNotes([...this.byValue.values(), ...this.slots.all()])
    this.settleMeans()
  }

  /** Axes of a value; undefined where its rank is not known. */
  axes(value: Value): readonly Axis[] | undefined {
    const known = this.byValue.get(value)
    if (known) return known
    const axes = this.shapes.dims(value)?.map((size) => new Axis(size))
    if (axes) this.byValue.set(value, axes)
    return axes
  }

  /** Axes of an input slot. A constant vector read in several places is a vector of each place. */
  inputAxes(node: Node, index: number): readonly Axis[] | undefined {
    const value = node.inputs[index]
    if (!value) return undefined
    return this.slots.axes(node, index, value) ?? this.axes(value)
  }

  /** Values whose readers see an axis of their own. */
  get seams(): ReadonlyMap<Value, Seam> {
    return this.slots.seams
  }

  /** Scaffolds as each of their readers sees them. */
  scaffoldReads(): readonly ScaffoldRead[] {
    return [...this.slots.scaffoldReads.values()]
  }

  /** Whether a node sums over an axis that may lose members. */
  isContracted(node: Node): boolean {
    return this.contractions.some((each) => each.node === node)
  }

  /** Whether a value is the same in every run. */
  isConstant(value: Value): boolean {
    return this.constants.has(value)
  }

  /** Every constant with its axes, per reader where readers differ. */
  *constantAxes(): IterableIterator<ConstantAxes> {
    for (const [value, axes] of this.byValue)
      if (value.constant && !isSharedVector(value)) yield { value, use: undefined, axes }
    yield* this.slots.constants.values()
  }

  /** Values with axes that are not constants. */
  *valueAxes(): IterableIterator<readonly [Value, readonly Axis[]]> {
    for (const [value, axes] of this.byValue) if (!value.constant) yield [value, axes]
  }

  private findConstants(): void {
    for (const value of this.graph.values.values()) if (value.constant) this.constants.add(value)
    for (const node of this.graph.nodes()) {
      if (node.attributes.size > 0 && [...innerGraphs(node)].length > 0) continue
      if (node.op.startsWith('Random')) continue
      const isMade = node.inputs.every((input) => !input || this.constants.has(input))
      // Sizes that don't change count too: of a weight, or of an axis whose length is fixed.
      for (const output of node.outputs)
        if (output && (isMade || this.isKnown(output))) this.constants.add(output)
    }
  }

  private isKnown(value: Value): boolean {
    const elements = this.shapes.integers(value)?.elements
    return elements?.every((size) => size?.value !== undefined) ?? false
  }

  private relate(node: Node): void {
    const context = contextOf(this, node)
    if (this.passOn(node)) return
    const rule = findAxisRule(node)
    if (!rule) return this.giveUp(node, context, whyNoRule(node))
    const unknown = [...node.inputs, ...node.outputs].find(
      (value) => value && !this.shapes.dims(value),
    )
    if (unknown) return this.giveUp(node, context, `the rank of "${unknown.name}" is not known`)
    this.applyRule(rule, node, context)
  }

  /** A product with nothing: readers find zeros where members are missing. */
  private sew(value: Value): void {
    const axes = this.axes(value)
    const seam = axes && openSeam(axes)
    if (!seam) return
    this.slots.seams.set(value, seam)
    for (const { node, index } of value.uses)
      if (node.graph === this.graph)
        this.contractions.push({
          node,
          operands: [{ input: index, axis: axes.length - 1, what: seam.inner }],
        })
  }

  /** What projections made may lose members under a mean; anything else is another mean then. */
  private settleMeans(): void {
    for (const { node, text, operand } of this.means) {
      const leaves = leavesOf(operand.what)
      if (leaves.every(({ marks }) => marks.has('projected')))
        this.contractions.push({
          node,
          operands: [operand],
          share: 1 / (operand.what.size.value ?? 1),
        })
      else for (const leaf of leaves) leaf.entangle(node, text)
    }
  }

  private applyRule(rule: AxisRule, node: Node, context: RuleContext): void {
    rule.relate(context)
    for (const inner of this.stating(node)) this.blockCaptures(inner, node)
  }

  /** Branches that hand on what is outside, as one that is always taken or those that stand open: the same axes. */
  private passOn(node: Node): boolean {
    const graphs = node.op === 'If' ? this.reachable(node) : []
    if (graphs.length === 0 || (graphs.length > 1 && graphs.some(({ branch }) => !branch)))
      return false
    const sources = graphs.map(({ outputs }) => outputs.map((output) => this.sourceOf(output)))
    if (sources.flat().some((source) => !source || !this.axes(source))) return false
    for (const inner of this.stating(node))
      if (!graphs.includes(inner)) this.blockCaptures(inner, node)
    for (const [index, output] of node.outputs.entries())
      for (const each of sources) this.joinResult(each[index], output, node)
    return true
  }

  private sourceOf(output: Value): Value | undefined {
    const { producer } = output
    const source = producer?.op === 'Identity' ? producer.inputs[0] : output
    return source?.graph === this.graph ? source : undefined
  }

  /** Sizes in which branches differ may not change in one alone; those that data decides are no dimensions. */
  private joinResult(source: Value | undefined, output: Value | undefined, node: Node): void {
    const [from = [], to = []] = [source && this.axes(source), output && this.axes(output)]
    for (const [at, axis] of from.entries()) {
      const result = to[at]
      if (result?.size.equals(axis.size)) unify(axis, result, node)
      else for (const each of [axis, result]) each?.block(node, 'has another size in each branch')
    }
  }

  private reachable(node: Node): Graph[] {
    const [condition] = node.inputs
    return reachableGraphs(node, condition && this.shapes.integers(condition))
  }

  /** Graphs that state sizes: those that run, and those that don't where a session still reads them. */
  private stating(node: Node): Graph[] {
    const run = new Set(this.reachable(node))
    return [...innerGraphs(node)].filter((inner) => run.has(inner) || holdsSizes(inner))
  }

  private giveUp(node: Node, context: RuleContext, reason: string): void {
    this.unrecognised.push({ node, reason })
    context.blockAll(reason)
    for (const inner of this.stating(node)) this.blockCaptures(inner, node)
  }

  private blockCaptures(inner: Graph, holder: Node): void {
    for (const node of inner.nodes()) {
      for (const value of node.inputs)
        if (value && value.graph === this.graph)
          for (const axis of this.axes(value) ?? [])
            axis.block(holder, `read inside the graph of ${holder.op}`)
      for (const deeper of innerGraphs(node)) this.blockCaptures(deeper, holder)
    }
  }

  /** Weights of the same numbers lose the same members. */
  private joinCopies(): void {
    const weights = new Map<Value, Node>()
    for (const { node, operands } of this.contractions)
      for (const { input } of operands) {
        const value = node.inputs[input]
        if (value?.constant && !weights.has(value)) weights.set(value, node)
      }
    for (const [first, ...others] of findCopies(weights.keys()))
      for (const other of others) {
        for (const each of [first, other]) if (each && first) this.copies.set(each, first)
        for (const [at, axis] of (this.axes(other) ?? []).entries()) {
          const same = first && this.axes(first)?.[at]
          if (same) unify(same, axis, weights.get(other))
        }
      }
  }
}

/** Whether a graph reads constants of several elements, whose sizes have to fit the rest. */
const holdsSizes = (graph: Graph): boolean =>
  [...graph.nodes()].some(
    (node) =>
      node.inputs.some((value) => (value?.constant?.dims ?? []).some((dim) => dim > 1)) ||
      [...innerGraphs(node)].some(holdsSizes),
  )

/** Shapes and axes of a graph; `seams` are values whose last axis is laid into a wider one by no product. */
export function analyseAxes(
  graph: Graph,
  { shapes = inferShapes(graph), seams = new Set<Value>() }: AnalysisOptions = {},
): AxisAnalysis {
  return new AxisAnalysis(graph, shapes, seams)
}

interface AnalysisOptions {
  readonly shapes?: ShapeInfo
  readonly seams?: ReadonlySet<Value>
}

function whyNoRule(node: Node): string {
  const { model } = node.graph
  const called = model.findFunction(node)
  const why = called && whyNotWritten(called, model)
  return why
    ? `function ${node.operatorName} stays a call: ${why}`
    : `operator ${node.operatorName} has no axis rule`
}
