/**
 * Axes that belong to a reader rather than to what it reads: of vectors that exporters share between layers, of
 * scaffolds, of seams.
 */
import type { Node, Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'
import { Axis } from './axis.js'
import { isFilled } from './copies.js'
import type { ScaffoldRead } from './scaffold.js'
import type { Seam } from './seam.js'

/** Axes of a constant, as one reader of it sees them. */
export interface ConstantAxes {
  readonly value: Value
  /** Set where each reader has a copy of its own: vectors that exporters share between layers. */
  readonly use: { readonly node: Node; readonly index: number } | undefined
  readonly axes: readonly Axis[]
}

export class Slots {
  readonly constants = new Map<string, ConstantAxes>()
  readonly scaffoldReads = new Map<string, ScaffoldRead>()
  readonly seams = new Map<Value, Seam>()

  constructor(
    private readonly shapes: ShapeInfo,
    private readonly scaffolds: ReadonlyMap<Value, readonly boolean[]>,
    private readonly axesOf: (value: Value) => readonly Axis[] | undefined,
  ) {}

  /** Axes of an input slot that are its own; undefined where they are those of the value. */
  axes(node: Node, index: number, value: Value): readonly Axis[] | undefined {
    // Known slots first: while members are removed, slots get constants of their own.
    const key = `${node.id}:${index}`
    const known = this.constants.get(key) ?? this.scaffoldReads.get(key)
    if (known) return known.axes
    const seam = this.seams.get(value)
    if (seam) return seam.outer
    const isAlike = this.scaffolds.get(value)
    if (isAlike) {
      const axes = this.axesOf(value)?.map((axis, at) =>
        isAlike[at] && axis.size.value !== undefined ? ownCopy(axis) : axis,
      )
      if (axes) this.scaffoldReads.set(key, { value, node, index, axes })
      return axes
    }
    if (!isSharedVector(value)) return undefined
    const axes = this.shapes.dims(value)?.map((size) => new Axis(size))
    if (axes) this.constants.set(key, { value, use: { node, index }, axes })
    return axes
  }

  *all(): IterableIterator<readonly Axis[]> {
    for (const { axes } of this.constants.values()) yield axes
    for (const { axes } of this.scaffoldReads.values()) yield axes
    for (const { outer } of this.seams.values()) yield outer
  }
}

function ownCopy({ root }: Axis): Axis {
  const copy = new Axis(root.size)
  for (const mark of root.marks) copy.marks.add(mark)
  return copy
}

/**
 * Exporters store equal vectors once, and folded zeros: each reader's slice is its own. Other matrices are
 * shared on purpose.
 */
export const isSharedVector = (value: Value): boolean =>
  value.constant !== undefined &&
  value.uses.size > 1 &&
  (value.constant.dims.filter((dim) => dim > 1).length <= 1 || isFilled(value.constant))
