/** Whole numbers of a small tensor, for what works only where all of them are known. */
import type { Value } from '../graph/graph.js'
import type { ShapeInfo } from './infer.js'

/** In row-major order; undefined where the tensor is large, or some number shows only while running. */
export function knownIntegers(value: Value, shapes: ShapeInfo): number[] | undefined {
  const found = shapes.integers(value)?.elements.map((each) => each?.value)
  return found?.every((each) => each !== undefined) ? found : undefined
}
