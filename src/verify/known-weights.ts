/**
 * A part of a plan whose numbers are elsewhere: weights that were re-fitted on the way are not known, so neither can
 * they be kept in fewer bits again.
 */
import type { Graph } from '../graph/graph.js'
import type { PlanPart } from '../plan/plan.js'
import { Places } from '../quantize/places.js'
import { findQuantizable } from '../quantize/quantizable.js'
import { inferShapes } from '../shape/infer.js'

/** The part without weights that the graph has no numbers of; what the plan calls them is added to `unknown`. */
export function withKnownWeights(graph: Graph, part: PlanPart, unknown: Set<string>): PlanPart {
  const { quantized, integers } = part
  if (!quantized && !integers) return part
  const places = new Places(findQuantizable(graph, inferShapes(graph)).weights)
  const isKnown = (entry: { readonly name: string; readonly digest?: string | undefined }) => {
    const isThere = places.has(entry)
    if (!isThere) unknown.add(entry.name)
    return isThere
  }
  return {
    ...part,
    ...(quantized && { quantized: quantized.filter(isKnown) }),
    ...(integers && { integers: integers.filter(isKnown) }),
  }
}

/** Constants that may be those weights: models of one folder call them by other names. */
export const weightsOf = (graph: Graph): ReadonlySet<string> =>
  new Set(findQuantizable(graph, inferShapes(graph)).weights.map(({ value }) => value.name))
