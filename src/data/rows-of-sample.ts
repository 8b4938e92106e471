/**
 * Inputs that hold several rows for each sample: one for each codebook of a text of sound, which a Reshape tells apart
 * first of all.
 */
import type { Graph, Value } from '../graph/graph.js'
import { inferShapes } from '../shape/infer.js'

/** By input: how many rows are a sample's, where that is not one. */
export function findRowsOfSamples(graph: Graph): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  const open = graph.inputs.filter(
    (input) => typeof input.type?.dims?.[0] === 'string' && reshapesOf(input).length > 0,
  )
  if (open.length === 0) return found
  const shapes = inferShapes(graph)
  for (const input of open) {
    const rest = shapes.dims(input)?.slice(1) ?? []
    for (const { inputs } of reshapesOf(input)) {
      const target = inputs[1] && shapes.integers(inputs[1])?.elements
      const count = target?.[1]?.value
      const isApart =
        target?.length === rest.length + 2 &&
        target[0]?.value === -1 &&
        rest.every((size, axis) => target[axis + 2]?.equals(size))
      if (isApart && count !== undefined && count > 1) found.set(input.name, count)
    }
  }
  return found
}

const reshapesOf = ({ uses }: Value) =>
  [...uses].flatMap(({ node, index }) => (node.op === 'Reshape' && index === 0 ? [node] : []))
