/**
 * Runs the axis rules over a graph and keeps what they found: the axes of every value, where axes
 * are contracted, and what stands in the way. Values are visited once, in order; structure that
 * turns up later refines what was joined before, as it lives in the axes (axis.ts).
 */
import { type Graph, innerGraphs, type Node, type Value } from '../graph/graph.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import { reachableGraphs } from '../shape/reachable.js'
import { Axis, childrenOf, leastCommonMultiple, leavesOf } from './axis.js'
import { findCopies } from './copies.js'
import type { AxisRule, Operand, RuleContext } from './rule.js'
import { contextOf } from './rule-context.js'
import { findAxisRule } from './rules/index.js'
import { unify } from './unify.js'

/** Axes that are multiplied and summed away at a node. */
export interface Contraction {
  readonly node: Node
  readonly operands: readonly (Operand & { readonly what: Axis })[]
}

/** An axis of a constant, as one reader of it sees it. */
export interface ConstantAxes {
  readonly value: Value
  /** Set where each reader has a copy of its own: vectors that exporters share between layers. */
  readonly use: { readonly node: Node; readonly index: number } | undefined
  readonly axes: readonly Axis[]
}

export class AxisAnalysis {
  readonly contractions: Contraction[] = []
  /** Nodes without a rule, or whose shapes are not known. */
  readonly unrecognised: { readonly node: Node; readonly reason: string }[] = []
  /** Axes that a rule named at a node: heads and head sizes of fused attention. */
  readonly recorded = new Map<Node, Readonly<Record<string, Axis>>>()
  private readonly byValue = new Map<Value, readonly Axis[]>()
  private readonly byUse = new Map<string, ConstantAxes>()
  private readonly constants = new Set<Value>()

  constructor(
    readonly graph: Graph,
    readonly shapes: ShapeInfo,
  ) {
    this.findConstants()
    for (const node of graph.nodes()) this.relate(node)
    this.joinCopies()
    this.settle()
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
    // Known slots first: while members are removed, slots get constants of their own.
    const key = `${node.id}:${index}`
    const known = this.byUse.get(key)
    if (known) return known.axes
    if (!isSharedVector(value)) return this.axes(value)
    const axes = this.shapes.dims(value)?.map((size) => new Axis(size))
    if (axes) this.byUse.set(key, { value, use: { node, index }, axes })
    return axes
  }

  /** Whether a value is the same in every run. */
  isConstant(value: Value): boolean {
    return this.constants.has(value)
  }

  /** Every constant with its axes, per reader where readers differ. */
  *constantAxes(): IterableIterator<ConstantAxes> {
    for (const [value, axes] of this.byValue)
      if (value.constant && !isSharedVector(value)) yield { value, use: undefined, axes }
    yield* this.byUse.values()
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
    if (!rule) return this.giveUp(node, context, `operator ${operatorName(node)} has no axis rule`)
    const unknown = [...node.inputs, ...node.outputs].find(
      (value) => value && !this.shapes.dims(value),
    )
    if (unknown) return this.giveUp(node, context, `the rank of "${unknown.name}" is not known`)
    this.applyRule(rule, node, context)
  }

  private applyRule(rule: AxisRule, node: Node, context: RuleContext): void {
    rule.relate(context)
    for (const inner of this.stating(node)) this.blockCaptures(inner, node)
  }

  /** A branch that is always taken and hands on what is outside: the same axes. */
  private passOn(node: Node): boolean {
    const [only, other] = node.op === 'If' ? this.reachable(node) : []
    if (!only || other) return false
    for (const inner of this.stating(node)) if (inner !== only) this.blockCaptures(inner, node)
    const sources = only.outputs.map((output) => {
      const { producer } = output
      const source = producer?.op === 'Identity' ? producer.inputs[0] : output
      return source?.graph === this.graph ? source : undefined
    })
    if (sources.some((source) => !source || !this.axes(source))) return false
    for (const [index, source] of sources.entries()) {
      const output = node.outputs[index]
      const [from, to] = [source && this.axes(source), output && this.axes(output)]
      for (const [at, axis] of (to ?? []).entries()) if (from?.[at]) unify(from[at], axis, node)
    }
    return true
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
      for (const other of others)
        for (const [at, axis] of (this.axes(other) ?? []).entries()) {
          const same = first && this.axes(first)?.[at]
          if (same) unify(same, axis, weights.get(other))
        }
  }

  /** Notes made on an axis before it was taken apart hold for all its leaves. */
  private settle(): void {
    const all = new Set<Axis>()
    const collect = (axis: Axis): void => {
      const root = axis.root
      if (all.has(root)) return
      all.add(root)
      if (root.structure) for (const child of childrenOf(root.structure)) collect(child)
    }
    for (const axes of this.byValue.values()) axes.forEach(collect)
    for (const { axes } of this.byUse.values()) axes.forEach(collect)
    for (const axis of all) {
      if (!axis.structure) continue
      if (axis.granularity > 1) spreadGranularity(axis, axis.granularity)
      for (const leaf of leavesOf(axis)) {
        for (const reason of axis.blocked)
          if (!leaf.blocked.includes(reason)) leaf.blocked.push(reason)
        for (const reason of axis.entangled)
          if (!leaf.entangled.includes(reason)) leaf.entangled.push(reason)
        for (const mark of axis.marks) leaf.marks.add(mark)
      }
    }
  }
}

/**
 * Removal in aligned runs of `block` members of `axis`, said of its leaves: a leaf whose members are
 * runs of whole blocks is free, one whose members are shorter goes several at a time.
 */
function spreadGranularity(axis: Axis, block: number): void {
  const { structure } = axis.root
  if (!structure) {
    // A last run that is not full is a run of its own.
    axis.root.granularity = leastCommonMultiple(axis.root.granularity, block)
    return
  }
  if (structure.kind === 'sum') {
    for (const part of structure.parts) spreadGranularity(part, block)
    return
  }
  if (structure.kind === 'packed') return spreadGranularity(structure.of, block * structure.perByte)
  if (structure.kind === 'blocks') return spreadGranularity(structure.of, block * structure.block)
  let inner = 1
  for (const [index, factor] of [...structure.factors.entries()].toReversed()) {
    const size = factor.size.value
    if (size === undefined) return
    // So many members fill whole blocks; further in, every run of the factor must begin with one.
    const run = leastCommonMultiple(block, inner) / inner
    const fits = run < size && (index === 0 || (size * inner) % block === 0)
    if (run > 1 && fits) spreadGranularity(factor, run)
    else if (run > 1)
      for (const leaf of leavesOf(factor)) leaf.block(undefined, `blocks of ${block} don't fit`)
    inner *= size
  }
}

/** Exporters store equal vectors once: each reader's slice is its own. Matrices are shared on purpose. */
const isSharedVector = (value: Value): boolean =>
  value.constant !== undefined &&
  value.uses.size > 1 &&
  value.constant.dims.filter((dim) => dim > 1).length <= 1

/** Whether a graph reads constants of several elements, whose sizes have to fit the rest. */
const holdsSizes = (graph: Graph): boolean =>
  [...graph.nodes()].some(
    (node) =>
      node.inputs.some((value) => (value?.constant?.dims ?? []).some((dim) => dim > 1)) ||
      [...innerGraphs(node)].some(holdsSizes),
  )

export const operatorName = (node: Node): string =>
  node.domain ? `${node.domain}.${node.op}` : node.op

/** Shapes and axes of a graph. */
export function analyseAxes(graph: Graph, shapes: ShapeInfo = inferShapes(graph)): AxisAnalysis {
  return new AxisAnalysis(graph, shapes)
}
