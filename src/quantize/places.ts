/**
 * Weights of a plan found in a model: by name and numbers, or by numbers alone, whichever way round they are
 * stored. Models of one folder call the same weight by other names, and exporters turn it.
 */
import { createHash } from 'node:crypto'
import { AttncError } from '../errors.js'
import { type QuantizableWeight, readMatrix } from './quantizable.js'

interface Entry {
  readonly name: string
  readonly digest?: string | undefined
}

export class Places {
  private readonly byName: ReadonlyMap<string, QuantizableWeight>
  private readonly digests = new Map<QuantizableWeight, string>()
  private readonly taken = new Set<QuantizableWeight>()

  constructor(private readonly weights: readonly QuantizableWeight[]) {
    this.byName = new Map(weights.map((weight) => [weight.value.name, weight]))
  }

  /**
   * The weights of an entry that no entry had before: where another model has one constant for a table and
   * its head, two entries find the same. Error: QUANTIZED_MISSING.
   */
  take(entry: Entry): readonly QuantizableWeight[] {
    const found = this.find(entry)
    this.assertFound(entry, found)
    const open = found.filter((weight) => !this.taken.has(weight))
    for (const weight of open) this.taken.add(weight)
    return open
  }

  /** Whether the model has a weight of its numbers: of those that were re-fitted before, only what carries that out has. */
  has(entry: Entry): boolean {
    return this.find(entry).length > 0
  }

  private find(entry: Entry): readonly QuantizableWeight[] {
    const named = this.byName.get(entry.name)
    if (named && (entry.digest === undefined || this.digest(named) === entry.digest)) return [named]
    if (entry.digest === undefined) return []
    return this.weights.filter((weight) => this.digest(weight) === entry.digest)
  }

  private assertFound(entry: Entry, found: readonly QuantizableWeight[]): void {
    if (found.length > 0) return
    throw new AttncError(
      'QUANTIZED_MISSING',
      'usage',
      `The plan keeps "${entry.name}" in fewer bits, and the model has no weight of its numbers that could be.`,
      { suggestions: ['Use the plan with the model that it was made for.'] },
    )
  }

  private digest(weight: QuantizableWeight): string {
    const found = this.digests.get(weight) ?? digestOfMatrix(weight)
    this.digests.set(weight, found)
    return found
  }
}

/** Type, shape and numbers of [outputs, inputs], in 64 hexadecimal digits. */
export function digestOfMatrix(weight: QuantizableWeight): string {
  const { outputs, inputs, tensor } = weight
  const numbers = Float32Array.from(readMatrix(weight))
  return createHash('sha256')
    .update(`${tensor.dataType} ${outputs},${inputs}\0`)
    .update(new Uint8Array(numbers.buffer))
    .digest('hex')
}
