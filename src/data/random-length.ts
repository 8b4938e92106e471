/**
 * How long inputs drawn by chance may be. No shape says how far a model's positions reach, or how much
 * sound its convolutions need: a length is right when the model runs on it.
 */
import type { LoadedModel } from '../model-folder/load.js'
import { openSession } from '../runtime/session.js'
import { isPicturePort } from './batch.js'
import { portsOf } from './open-data.js'
import { lengthsToTry, randomBatches } from './random.js'

/** What most models take first, then shorter ones, then what sound needs. */
const lengths = [128, 64, 32, 16, 8, 512, 2048, 8192]

/** The first length that the model runs on; undefined where it runs on none, or sizes are all fixed. */
export async function findRandomLength(
  { model, path }: LoadedModel,
  vocabulary: number | undefined,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const inputs = portsOf(model)
  if (inputs.every(({ dims }) => dims.slice(1).every((dim) => typeof dim === 'number')))
    return undefined
  await using session = await openSession({ path, optimization: 'basic', signal })
  const rows = inputs.some(isPicturePort) ? 2 : 8
  for (const sequenceLength of lengthsToTry(inputs, lengths, rows)) {
    // Several samples: in one, padding drawn by chance may keep positions short.
    const size = { sequenceLength, batchSize: rows, samples: rows }
    const [batch] = randomBatches({ inputs, vocabulary, seed: 0, ...size })
    const runs = await session.run(batch?.feeds ?? {}).then(
      () => true,
      () => false,
    )
    signal?.throwIfAborted()
    if (runs) return sequenceLength
  }
  return undefined
}
