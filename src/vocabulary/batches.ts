/** Batches of ids as a model with fewer tokens counts them. */
import type { Batch } from '../data/batch.js'
import { numbersOf, tensorOf } from '../onnx/numbers.js'
import type { PlanPart, VocabularyCut } from '../plan/plan.js'

/** Batches for a model after `parts`. `inputs`: names of the inputs of ids, as `idInputs` finds them. */
export function renumberAfter(
  parts: readonly PlanPart[],
  batches: readonly Batch[],
  inputs: readonly string[],
): readonly Batch[] {
  const cut = parts.find(({ vocabulary }) => vocabulary)?.vocabulary
  return cut ? renumber(batches, cut, inputs) : batches
}

/** New numbers by old ones; undefined for tokens that went. */
export const newNumbers = ({ keep }: VocabularyCut): ReadonlyMap<number, number> =>
  new Map(keep.map((old, index) => [old, index]))

/** Whether every token of a batch stays. */
export const isKnown = ({ ids }: Batch, cut: VocabularyCut): boolean => {
  const numbers = newNumbers(cut)
  return ids.every((row) => row.every((id) => numbers.has(id)))
}

/** Tokens that went become the first that stays, as does padding. */
function renumber(
  batches: readonly Batch[],
  cut: VocabularyCut,
  inputs: readonly string[],
): Batch[] {
  const numbers = newNumbers(cut)
  const numberOf = (id: number): number => numbers.get(id) ?? 0
  return batches.map((batch) => ({
    ...batch,
    feeds: Object.fromEntries(
      Object.entries(batch.feeds).map(([name, tensor]) => [
        name,
        inputs.includes(name)
          ? tensorOf(tensor.dataType, tensor.dims, Array.from(numbersOf(tensor), numberOf))
          : tensor,
      ]),
    ),
    ids: batch.ids.map((row) => row.map(numberOf)),
  }))
}
