/** Sizes that one run's data give the symbols in a graph's shapes. */
import type { Graph } from '../graph/graph.js'

/** By the symbols of the graph's inputs; `dimsOf` says which sizes an input is fed with. */
export function symbolSizes(
  { inputs }: Graph,
  dimsOf: (input: string) => readonly number[] | undefined,
): Map<string, number> {
  const sizes = new Map<string, number>()
  for (const { name, type } of inputs) {
    const fed = dimsOf(name)
    for (const [axis, dim] of type?.dims?.entries() ?? []) {
      const size = fed?.[axis]
      if (typeof dim === 'string' && size !== undefined) sizes.set(dim, size)
    }
  }
  return sizes
}
