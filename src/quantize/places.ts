/** Weights of a plan found in a model: by name and numbers, or by numbers alone. */
import { AttncError } from '../errors.js'
import { digestOfConstant } from '../plan/constants.js'
import type { QuantizableWeight } from './quantizable.js'

/** Weights by their numbers, as other models of a folder call them by other names. */
export class Places {
  private readonly byName: ReadonlyMap<string, QuantizableWeight>
  private readonly digests = new Map<QuantizableWeight, string>()

  constructor(private readonly weights: readonly QuantizableWeight[]) {
    this.byName = new Map(weights.map((weight) => [weight.value.name, weight]))
  }

  of(entry: {
    readonly name: string
    readonly digest?: string | undefined
  }): readonly QuantizableWeight[] {
    const named = this.byName.get(entry.name)
    if (named && (entry.digest === undefined || this.digest(named) === entry.digest)) return [named]
    const found =
      entry.digest === undefined
        ? []
        : this.weights.filter((weight) => this.digest(weight) === entry.digest)
    if (found.length > 0) return found
    throw new AttncError(
      'QUANTIZED_MISSING',
      'usage',
      `The plan keeps "${entry.name}" in fewer bits, and the model has no weight of its numbers that could be.`,
      { suggestions: ['Use the plan with the model that it was made for.'] },
    )
  }

  private digest(weight: QuantizableWeight): string {
    const found = this.digests.get(weight) ?? digestOfConstant(weight.tensor)
    this.digests.set(weight, found)
    return found
  }
}
