/**
 * How long inputs drawn by chance may be. No shape says how far a model's positions reach, or how much
 * sound its convolutions need: a length is right when the model runs on it.
 */
import type { Model, Value } from '../graph/graph.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { openSession } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'
import { type Batch, isPicturePort } from './batch.js'
import { portsOf } from './open-data.js'
import { lengthsToTry, randomBatches } from './random.js'
import { symbolSizes } from './symbol-sizes.js'

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
  const isPicture = inputs.some(isPicturePort)
  const rows = isPicture ? 2 : 8
  for (const sequenceLength of lengthsToTry(inputs, lengths, rows)) {
    // Several samples: in one, padding drawn by chance may keep positions short.
    const size = { sequenceLength, batchSize: rows, samples: rows }
    const [batch] = randomBatches({ inputs, vocabulary, seed: 0, ...size })
    const runs = await session.run(batch?.feeds ?? {}).then(
      (results) => batch !== undefined && isWhole(model, batch, results, isPicture),
      () => false,
    )
    signal?.throwIfAborted()
    if (runs) return sequenceLength
  }
  return undefined
}

/**
 * Whether something is answered, and of a picture nothing on the way is empty: where one is smaller than a pool's
 * kernel, the runtime still gives a place or none, by no rule of sizes.
 */
function isWhole(
  { graph }: Model,
  batch: Batch,
  results: Readonly<Record<string, RuntimeTensor>>,
  isPicture: boolean,
): boolean {
  if (Object.values(results).every(({ data }) => data.length === 0)) return false
  if (!isPicture) return true
  const overrides = symbolSizes(graph, (name) => batch.feeds[name]?.dims)
  const shapes = inferShapes(graph, { overrides })
  const isEmpty = (value: Value | undefined): boolean =>
    value !== undefined && (shapes.dims(value)?.some((size) => size.value === 0) ?? false)
  return [...graph.nodes()].every(({ outputs }) => !outputs.some(isEmpty))
}
