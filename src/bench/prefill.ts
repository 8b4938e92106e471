/** Runs of models in turns, each on its own batch, timed inside ONNX Runtime; whether they say numbers at all. */
import type { Batch } from '../data/batch.js'
import type { LoadedModel } from '../model-folder/load.js'
import { isFloating } from '../onnx/data-type.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import type { RunOptions } from '../runtime/batches.js'
import { openSession, type Session } from '../runtime/session.js'
import { interleave, type Pace } from './interleave.js'

export interface Prefill {
  /** Milliseconds of every turn, a row a model; and what these took from the processor. */
  readonly times: readonly (readonly number[])[]
  readonly processor: readonly (readonly number[])[]
  readonly openMs: readonly number[]
  /** Outputs with NaN in them, a row a model. */
  readonly notNumbers: readonly (readonly string[])[]
}

/** Errors: those of sessions. */
export async function benchPrefill(
  models: readonly LoadedModel[],
  batches: readonly Batch[],
  { provider = 'cpu', threads, signal, log }: RunOptions,
  pace: Pace,
): Promise<Prefill> {
  const sessions: Session[] = []
  const openMs: number[] = []
  const notNumbers: (readonly string[] | undefined)[] = models.map(() => undefined)
  const contestants: (() => Promise<number>)[] = []
  const used: number[][] = models.map(() => [])
  try {
    for (const [index, { path }] of models.entries()) {
      const began = performance.now()
      const takesTurns = models.length > 1
      const session = await openSession({ path, provider, threads, takesTurns, signal })
      sessions.push(session)
      openMs.push(performance.now() - began)
      contestants.push(async () => {
        const before = process.cpuUsage()
        const results = await session.run(batches[index]?.feeds ?? {})
        const { user, system } = process.cpuUsage(before)
        used[index]?.push((user + system) / 1000)
        // Every run is the same, so the first tells.
        notNumbers[index] ??= findNotNumbers(results)
        return session.lastRunMs
      })
    }
    const onTurn = (done: number, total: number): void =>
      log.progress('measuring prefill', done, total)
    const times = await interleave(contestants, { ...pace, onTurn })
    log.progress('measuring prefill', 1, 1)
    // Runs that warmed up are no turns.
    const processor = used.map((all, index) => all.slice(-(times[index]?.length ?? 0)))
    return { times, processor, openMs, notNumbers: notNumbers.map((names) => names ?? []) }
  } finally {
    for (const session of sessions) await session.close()
  }
}

const findNotNumbers = (results: Readonly<Record<string, RuntimeTensor>>): string[] =>
  Object.entries(results).flatMap(([name, tensor]) =>
    isFloating(tensor.dataType) && numbersOf(tensor).some(Number.isNaN) ? [name] : [],
  )
