/** Data that judges: kept apart from what is learned from, and the loss on it. */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import type { Feeds, Session } from '../runtime/session.js'
import { feedsOf } from './feeds.js'
import { countOf, type Objective, targetsOf } from './loss/objective.js'
import { samplesOf, stack } from './sampling.js'
import type { TrainOptions } from './train-options.js'

export interface HeldOut {
  readonly objective: Objective
  readonly heldOut: readonly Batch[]
  /** Inputs that are the same for all batches, as the numbers that are judged. */
  readonly same?: Feeds | undefined
  readonly signal?: AbortSignal | undefined
}

/** Mean loss over what counts in all held-out batches; `loss` is the session's output. */
export async function heldOutLoss(
  session: Session,
  loss: string,
  { objective, heldOut, same, signal }: HeldOut,
): Promise<number> {
  let sum = 0
  let count = 0
  for (const batch of heldOut) {
    signal?.throwIfAborted()
    const targets = targetsOf(objective, batch)
    const feeds = feedsOf(session, { ...batch.feeds, ...targets, ...same })
    const results = await session.run(feeds, [loss])
    const own = countOf(targets)
    sum += own * (numbersOf(results[loss] as RuntimeTensor)[0] as number)
    count += own
  }
  return sum / count
}

/** What is learned from and what it is judged by. Error: DATA_TOO_SMALL. */
export function holdOut({ batches, heldOut }: Pick<TrainOptions, 'batches' | 'heldOut'>): {
  readonly training: readonly Batch[]
  readonly heldOut: readonly Batch[]
} {
  if (heldOut) return { training: batches, heldOut }
  const samples = samplesOf(batches)
  const count = Math.max(1, Math.round(samples.length / 10))
  if (samples.length < 2)
    throw new AttncError(
      'DATA_TOO_SMALL',
      'usage',
      'There is one sample of data; training needs some to learn from and some to be judged by.',
      { suggestions: ['Give more data, or a smaller --sequence-length or --batch-size.'] },
    )
  const held = samples.slice(-count)
  const training = samples.slice(0, -count)
  if (samples === batches) return { training, heldOut: held }
  const size = batches[0]?.ids.length || 32
  const groups = Math.ceil(count / size)
  return {
    training,
    heldOut: Array.from({ length: groups }, (_, at) =>
      stack(held.slice(at * size, (at + 1) * size)),
    ),
  }
}
