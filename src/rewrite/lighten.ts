/** Less work for the same results, up to rounding: what exporters leave in a graph and ONNX Runtime does not take out. */
import type { GraphEdit } from '../graph/edit.js'
import { inferShapes } from '../shape/infer.js'
import { groupQueries } from './group-queries.js'
import { eraseIdleCasts } from './idle-casts.js'
import { scaleFirst } from './scale-first.js'

export function lighten(edit: GraphEdit): void {
  const shapes = inferShapes(edit.graph)
  eraseIdleCasts(edit, shapes)
  scaleFirst(edit, shapes)
  groupQueries(edit, inferShapes(edit.graph))
}
