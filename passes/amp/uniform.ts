/** Counts without a shared budget: the same share of everything, and what the published code takes. */
import type { Choice } from '../../src/repair/prunable.js'

/** The same share of every choice but value members, which stay. */
export function allocateUniform(choices: readonly Choice[], ratio: number): Map<Choice, number> {
  return new Map(
    choices.map((choice) => [
      choice,
      choice.frame
        ? 0
        : Math.min(roundHalfEven(ratio * choice.units.length), choice.units.length - 1),
    ]),
  )
}

/**
 * What the published code takes from a layer of `heads` and `width` (Mugnaini et al. 2025): the same share of
 * both, and what rounding heads took given back to the neurons, counted in heads and not in parameters.
 */
export function paperCounts(
  heads: number,
  width: number,
  ratio: number,
): { readonly heads: number; readonly neurons: number } {
  const gone = Math.min(roundHalfEven(ratio * heads), heads - 1)
  const neurons = roundHalfEven(width * ((heads / width) * (ratio - gone / heads) + ratio))
  return { heads: gone, neurons: Math.min(neurons, width - 1) }
}

/** The counts of the published code for every layer; blocks without a partner lose the share. */
export function allocateAsPublished(
  choices: readonly Choice[],
  ratio: number,
): Map<Choice, number> {
  const counts = allocateUniform(choices, ratio)
  for (const choice of choices) {
    if (choice.block.kind !== 'feedForward') continue
    const attention = choices.find(
      ({ block, frame }) =>
        !frame && block.kind === 'attention' && block.layer === choice.block.layer,
    )
    if (!attention) continue
    const { neurons } = paperCounts(attention.units.length, choice.units.length, ratio)
    counts.set(choice, neurons)
  }
  return counts
}

/** Python's rounding, which the published code uses. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}
