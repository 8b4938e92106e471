/** Runs taken in turns, A B A B …, so that whatever slows the machine down meanwhile slows all of them. */

export interface Pace {
  /** Turns that are measured at most. */
  readonly runs: number
  /** No further turn begins after this many seconds, once there were `leastRuns`. */
  readonly seconds: number
  readonly warmUp: number
  readonly signal?: AbortSignal | undefined
  readonly onTurn?: ((done: number, total: number) => void) | undefined
}

/** Fewer say nothing about spread. */
export const leastRuns = 5

/** Milliseconds of every run: one row a contestant, one column a turn. */
export async function interleave(
  contestants: readonly (() => Promise<number>)[],
  pace: Pace,
): Promise<number[][]> {
  const times: number[][] = contestants.map(() => [])
  const began = performance.now()
  for (let turn = -pace.warmUp; turn < pace.runs; turn++) {
    const isLate = performance.now() - began > pace.seconds * 1000
    if (isLate && turn >= Math.min(leastRuns, pace.runs)) break
    for (const [index, run] of contestants.entries()) {
      pace.signal?.throwIfAborted()
      const ms = await run()
      if (turn >= 0) times[index]?.push(ms)
    }
    if (turn >= 0) pace.onTurn?.(turn + 1, pace.runs)
  }
  return times
}
