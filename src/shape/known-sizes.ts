/** Sizes as numbers, for what works only where all of them are known. */
import type { Value } from '../graph/graph.js'
import type { ShapeInfo } from './infer.js'

/** Along each axis; undefined where the rank is not known, or some size shows only while running. */
export function knownSizes(value: Value, shapes: ShapeInfo): number[] | undefined {
  const sizes = shapes.dims(value)?.map((size) => size.value)
  return sizes?.every((size) => size !== undefined) ? sizes : undefined
}
