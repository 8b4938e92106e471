/**
 * Less work for the same results, up to rounding: what exporters leave in a graph and ONNX Runtime
 * does not take out.
 */
import type { GraphEdit } from '../graph/edit.js'
import { inferShapes } from '../shape/infer.js'
import { groupQueries } from './group-queries.js'
import { eraseIdleCasts } from './idle-casts.js'
import { quotientsOfRoots } from './root-quotients.js'
import { scaleFirst } from './scale-first.js'

export interface Lightened {
  /** Products that read keys or values once instead of copies. */
  readonly grouped: number
  /** Scores that are scaled as queries. */
  readonly scaled: number
  /** Casts to the type that is there anyway. */
  readonly casts: number
  /** Norms that ONNX Runtime computes in one pass now. */
  readonly norms: number
}

export function lighten(edit: GraphEdit): Lightened {
  const shapes = inferShapes(edit.graph)
  const casts = eraseIdleCasts(edit, shapes)
  const scaled = scaleFirst(edit, shapes)
  const grouped = groupQueries(edit, inferShapes(edit.graph))
  const norms = quotientsOfRoots(edit, shapes)
  return { grouped, scaled, casts, norms }
}
