/**
 * Seams: where what heads say is laid into a stream by no product, so that there is no weight to lose rows.
 * Readers of such a value see an axis of their own, and once members are gone, zeros stand where they were.
 */
import type { GraphEdit } from '../graph/edit.js'
import { firstReader } from '../graph/first-reader.js'
import type { Node, Value } from '../graph/graph.js'
import { int64Tensor } from '../onnx/tensor.js'
import { Axis, factorsOf } from './axis.js'
import type { Removal } from './removal.js'

export interface Seam {
  /** The last axis of the value, which may lose members. */
  readonly inner: Axis
  /** Axes of the value as its readers see them. */
  readonly outer: readonly Axis[]
}

/** Undefined where there is nothing to tell apart. */
export function openSeam(axes: readonly Axis[]): Seam | undefined {
  const inner = axes.at(-1)
  if (!inner || inner.size.value === undefined || inner.size.isOne) return undefined
  const own = new Axis(inner.size)
  own.marks.add('projected')
  return { inner, outer: axes.with(-1, own) }
}

/** Lays what stays of a value among zeros, for all its readers; who lost members too gets no zeros for those. */
export function widenSeam(edit: GraphEdit, value: Value, seam: Seam, removal: Removal): void {
  const { inner, outer } = seam
  const reads = [...value.uses]
  const first = firstReader(value.graph, reads)
  const wanted = removal.kept(outer.at(-1) ?? inner)
  if (!first || (!removal.isTouched(inner) && !wanted)) return
  const rank = outer.length - 1
  const ends = factorsOf(inner)
  // Whole heads are moved at once where the axis is made of heads and all of it is wanted.
  const isProduct = ends.every(({ structure, size }) => !structure && size.value !== undefined)
  const factors = isProduct && !wanted ? ends : [inner]
  const sizes = factors.map((factor) => removal.sizeOf(factor).value ?? 0)
  const widen = new Widening(edit, value, first)
  let wide = factors.length > 1 ? widen.reshape(value, rank, sizes) : value
  for (const [index, factor] of factors.entries()) {
    const all = Array.from({ length: factor.size.value ?? 0 }, (_, member) => member)
    const kept = removal.kept(factor)
    if (kept || wanted)
      wide = widen.along(wide, rank + index, rank + factors.length, kept ?? all, wanted ?? all)
  }
  if (factors.length > 1) wide = widen.reshape(wide, rank, [inner.size.value ?? 0])
  for (const { node, index } of reads) edit.setInput(node, index, wide)
}

class Widening {
  constructor(
    private readonly edit: GraphEdit,
    private readonly value: Value,
    private readonly before: Node,
  ) {}

  /** The last axes get these sizes; the first `rank` stay. */
  reshape(value: Value, rank: number, sizes: readonly number[]): Value {
    return this.op('Reshape', [value, this.ints([...Array<number>(rank).fill(0), ...sizes])])
  }

  /** An axis that has the members `kept` as one of the members `wanted`, zeros where they are gone. */
  along(
    value: Value,
    axis: number,
    rank: number,
    kept: readonly number[],
    wanted: readonly number[],
  ): Value {
    const places = wanted.map((member) => kept.indexOf(member))
    const present = places.filter((at) => at >= 0)
    const start = places.indexOf(0)
    const isRun =
      present.length === kept.length && places.every((at, index) => at < 0 || at === index - start)
    const isMissing = present.length < places.length
    const pads = Array<number>(2 * rank).fill(0)
    pads[axis] = isRun ? start : 0
    pads[rank + axis] = isRun ? wanted.length - start - kept.length : 1
    const padded = isMissing ? this.op('Pad', [value, this.ints(pads)]) : value
    if (isRun) return padded
    const picked = this.ints(places.map((at) => (at < 0 ? kept.length : at)))
    return this.edit.add('Gather', [padded, picked], {
      attributes: { axis: { kind: 'int', value: BigInt(axis) } },
      output: `${this.value.name}/wide`,
      before: this.before,
    })
  }

  private op(op: string, inputs: readonly Value[]): Value {
    return this.edit.add(op, inputs, { output: `${this.value.name}/wide`, before: this.before })
  }

  private ints(values: readonly number[]): Value {
    return this.edit.constant(int64Tensor([values.length], values), `${this.value.name}/places`)
  }
}
