/** The proof of one part of a plan: the model after it against a copy in which the part is masked. */
import type { Batch } from '../data/batch.js'
import { fitsInto } from '../data/fits-into.js'
import { portsOf } from '../data/open-data.js'
import { lengthsToTry, randomBatches } from '../data/random.js'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { applyPart } from '../plan/apply.js'
import type { Plan, PlanPart } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { breathe } from '../runtime/breathe.js'
import { renumberAfter } from '../vocabulary/batches.js'
import { checkSlice, halfBound, type NumericCheck } from './check.js'

export interface ProofOptions extends RunOptions {
  /** As it is after the part. */
  readonly source: LoadedModel
  readonly plan: Plan
  /** Inputs; random ones are made where there are none. */
  readonly batches?: readonly Batch[] | undefined
  /** Inputs that are ids of tokens. */
  readonly ids: readonly string[]
}

/**
 * Tokens at which is proved without data, or beside shorter data. Patterns show over several blocks
 * of keys and one that is not full, which the model's positions may not reach; samples of sound
 * have to outlast convolutions.
 */
const [PATTERN_LENGTH, SHORT, LONG] = [330, 16, 1024]

/** The model as it is after a part, against a fresh copy with the part masked. */
export async function provePart(
  options: ProofOptions,
  index: number,
  part: PlanPart,
): Promise<NumericCheck> {
  const { source, plan } = options
  const { signal } = options
  await breathe(signal)
  const masked = loadFrom(source.location, source.file).model
  for (const before of plan.parts.slice(0, index)) applyPart(masked.graph, before)
  const view = readModel(masked.graph)
  const cut = plan.parts.slice(0, index + 1)
  const given = renumberAfter(cut, options.batches?.slice(0, 1) ?? [], options.ids).filter(
    (batch) => fitsInto(source.model, batch),
  )
  const tokens = part.vocabulary?.keep.length ?? view.vocabulary
  await breathe(signal)
  applyPart(masked.graph, part, { as: 'mask', view })
  await breathe(signal)
  const proved = exactModel(options, index, part)
  await breathe(signal)
  const check = (batches: readonly Batch[]) =>
    checkSlice(proved, masked, batches, {
      ...options,
      bound: part.precision && halfBound,
      // Fused, integer products differ in rounding, and a code that flips is a whole step in all that follows.
      ...(part.integers && { optimization: 'disabled' }),
    })
  const random = (length: number) => check(checkInputs(masked, tokens, length))
  if (given.length > 0) {
    const found = await check(given)
    if (!part.attention || !areShort(given)) return found
    const long = await random(PATTERN_LENGTH).catch((error) => {
      if (error instanceof AttncError && error.kind === 'numeric') throw error
      signal?.throwIfAborted()
      return found
    })
    return largerOf(found, long)
  }
  const wanted = part.attention ? [PATTERN_LENGTH, SHORT] : [SHORT, LONG]
  let last: unknown = new AttncError(
    'RUN_FAILED',
    'runtime',
    'Its inputs have too many open sizes to be drawn.',
  )
  for (const length of lengthsToTry(portsOf(masked), wanted, 2))
    try {
      return await random(length)
    } catch (error) {
      if (error instanceof AttncError && error.kind === 'numeric') throw error
      signal?.throwIfAborted()
      last = error
    }
  throw last instanceof AttncError && last.code === 'RUN_FAILED' ? notByChance(last) : last
}

/**
 * Kernels that round their inputs while they run differ from everything by some hundredths: what is proved
 * is the same model without that, so that a wrong code or scale shows.
 */
function exactModel({ source, plan }: ProofOptions, index: number, part: PlanPart): Model {
  if (!part.quantized?.some(({ accuracy }) => accuracy > 0)) return source.model
  const { model } = loadFrom(source.location, source.file)
  for (const before of plan.parts.slice(0, index)) applyPart(model.graph, before)
  const quantized = part.quantized.map((each) => ({ ...each, accuracy: 0 }))
  applyPart(model.graph, { ...part, quantized })
  return model
}

/** Texts in which patterns may hide nothing yet. */
const areShort = (batches: readonly Batch[]): boolean => {
  const lengths = batches.flatMap(({ ids }) => ids.map(({ length }) => length))
  return lengths.length > 0 && Math.max(...lengths) < PATTERN_LENGTH
}

export const largerOf = (one: NumericCheck | undefined, other: NumericCheck): NumericCheck =>
  one && one.largest > other.largest ? one : other

const notByChance = (cause: AttncError): AttncError =>
  new AttncError(
    'RANDOM_INPUTS',
    'usage',
    `The proof needs inputs, and this model does not run on such as are drawn by chance. ${cause.message}`,
    {
      suggestions: [
        'Give inputs that it runs on with --data, for instance arrays in an .npz file.',
      ],
      cause,
    },
  )

function checkInputs(
  model: LoadedModel['model'],
  vocabulary: number | undefined,
  sequenceLength: number,
): Batch[] {
  return randomBatches({
    inputs: portsOf(model),
    sequenceLength,
    batchSize: 2,
    samples: 2,
    vocabulary,
    seed: 0,
  })
}
