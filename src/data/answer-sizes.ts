/** Sizes of what a model answers to given data. */
import type { Model, Value } from '../graph/graph.js'
import { inferShapes } from '../shape/infer.js'
import type { Batch } from './batch.js'
import { symbolSizes } from './symbol-sizes.js'

/**
 * Sizes of an output for the first batch, as stated where that is all that is known; undefined
 * where they show only while running.
 */
export function sizesOf(
  { graph }: Model,
  output: Value,
  [batch]: readonly Batch[],
): (number | undefined)[] | undefined {
  const overrides = symbolSizes(graph, (name) => batch?.feeds[name]?.dims)
  return inferShapes(graph, { overrides })
    .dims(output)
    ?.map(({ value }, axis) => {
      const stated = output.type?.dims?.[axis]
      return value ?? (typeof stated === 'number' ? stated : undefined)
    })
}

/** Whether an answer can be one for each token of the ids: a decoder's tokens are others than its encoder's. */
export function answersTokens(model: Model, output: Value, batches: readonly Batch[]): boolean {
  const rows = sizesOf(model, output, batches)?.[1]
  const tokens = batches[0]?.tokenMask?.dims[1]
  return rows === undefined || tokens === undefined || rows === tokens
}
