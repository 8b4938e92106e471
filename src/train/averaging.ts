/**
 * Several runs of one training, each on a device of its own and on batches of its own, that now and
 * then average what they have learned: local SGD (Stich, "Local SGD Converges Fast and Communicates
 * Little", 2019). They meet in a folder, by files, best one in memory; nothing else has to be set
 * up between them. States of optimisers stay each run's own.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { AttncError } from '../errors.js'
import type { Log } from '../log.js'
import { writeWhole } from '../write-whole.js'

export interface Averaging {
  /** Where the runs meet; of this training alone. */
  readonly folder: string
  /** Which of the runs this is, from 0, and how many there are. */
  readonly rank: number
  readonly count: number
  /** Updates between two meetings. */
  readonly every: number
  /** Seconds that are waited for another run, which is left behind then. Default 60. */
  readonly patience?: number | undefined
}

/** Milliseconds between two looks for a file. */
const PAUSE = 20

export class Meetings {
  private readonly others: Set<number>
  private last: string | undefined

  constructor(
    private readonly averaging: Averaging,
    private readonly log: Pick<Log, 'warn'>,
    private readonly signal?: AbortSignal | undefined,
  ) {
    const { rank, count } = averaging
    this.others = new Set(Array.from({ length: count }, (_, each) => each))
    this.others.delete(rank)
  }

  /** The mean of all that come. Error: AVERAGING_FILE, for numbers of another training. */
  async average(update: number, parameters: Float32Array): Promise<Float32Array> {
    const own = this.pathOf(update, this.averaging.rank)
    const { buffer, byteOffset, byteLength } = parameters
    writeWhole(own, new Uint8Array(buffer, byteOffset, byteLength))
    const sum = parameters.slice()
    let count = 1
    for (const rank of [...this.others]) {
      const path = this.pathOf(update, rank)
      if (await this.waitFor(path)) {
        add(sum, path)
        count++
      } else {
        this.others.delete(rank)
        const reason = `Run ${rank} did not come to update ${update}; it goes on without it.`
        this.log.warn('AVERAGING_LEFT_BEHIND', reason)
      }
    }
    for (let at = 0; at < sum.length; at++) sum[at] = (sum[at] as number) / count
    // All have read the file before this one: they came here since.
    if (this.last !== undefined) rmSync(this.last, { force: true })
    this.last = own
    return sum
  }

  private pathOf(update: number, rank: number): string {
    return join(this.averaging.folder, `${update}-${rank}.f32`)
  }

  private async waitFor(path: string): Promise<boolean> {
    const { patience = 60 } = this.averaging
    for (const end = Date.now() + patience * 1000; Date.now() < end; ) {
      if (existsSync(path)) return true
      await setTimeout(PAUSE, undefined, { signal: this.signal })
    }
    return false
  }
}

function add(sum: Float32Array, path: string): void {
  const bytes = readFileSync(path)
  if (bytes.byteLength !== sum.byteLength)
    throw new AttncError(
      'AVERAGING_FILE',
      'usage',
      `"${path}" has ${bytes.byteLength} bytes; expected ${sum.byteLength}, as many as this run trains.`,
      { suggestions: ['Name a folder of its own for each training.'] },
    )
  const numbers = new Float32Array(bytes.buffer, bytes.byteOffset, sum.length)
  for (let at = 0; at < sum.length; at++) sum[at] = (sum[at] as number) + (numbers[at] as number)
}
