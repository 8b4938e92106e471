/**
 * Faults inside ONNX Runtime (a damaged model can get past its checks) as errors: the thread that had one stays where
 * it is for good, what waits for it is told, and the process can clean up and end. For programs: it takes over the
 * process's signals, so a library doesn't turn it on by itself.
 */
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { constants, totalmem } from 'node:os'
import { AttncError } from '../../errors.js'
import type { ProviderName } from '../provider.js'
import type { NativeAddon } from './library.js'

let most: number | undefined
let watching: NativeAddon | undefined
let crash: AttncError | undefined
let signalled: number | undefined
let isSought = false
const waiting = new Set<(reason: AttncError) => void>()

/**
 * Turns it on for sessions that are opened from now on, and for good. Memory too is refused beyond `bytes`, all that
 * there is: ONNX Runtime then says what it lacked, and the system has no reason to end the process.
 */
export function surviveCrashes(bytes = allMemory()): void {
  most = bytes
}

/** Of the machine, what it can swap out too; or of the part of it that this process may use. */
function allMemory(): number {
  const allowed = process.constrainedMemory()
  return allowed > 0 && allowed < totalmem() ? allowed : totalmem() + swap()
}

function swap(): number {
  try {
    const [, kilobytes] =
      /^SwapTotal: +(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? []
    return Number(kilobytes ?? 0) * 1024
  } catch {
    return 0
  }
}

/** Whether some thread of this process had a fault: it is to end by `process.exit`, since work seems to go on. */
export const hasCrashed = (): boolean => crash !== undefined

/**
 * From now on `process.exit` doesn't wait for threads inside of ONNX Runtime: one that crashed is never done, and one
 * that opens a large model not for seconds. To be called when everything else is cleaned up.
 */
export function leaveWithoutWaiting(): void {
  const addon = watching
  if (addon) process.on('exit', (code) => addon.leave?.(code))
}

/** Before a session is opened; does something where it is wanted and the addon was built since it can. */
export function watchForCrashes(addon: NativeAddon, provider: ProviderName): void {
  if (most === undefined || !addon.watchForCrashes) return
  // What drivers of devices map is no memory that is taken.
  if (provider !== 'cpu') addon.limitMemory?.(Number.POSITIVE_INFINITY)
  if (watching) return
  watching = addon
  if (provider === 'cpu') addon.limitMemory?.(most)
  const pipe = new Socket({ fd: addon.watchForCrashes(), readable: true, writable: false })
  pipe.unref()
  pipe.on('data', ([signal = 0]) => {
    signalled = signal
    crash = crashed(signal)
    leaveWithoutWaiting()
    for (const reject of waiting) reject(crash)
  })
}

/** What the work gives, or the crash that it won't come back from. Error: RUNTIME_CRASHED. */
export function orCrash<Result>(work: () => Promise<Result>): Promise<Result> {
  if (crash) return Promise.reject(crash)
  return new Promise((resolve, reject) => {
    waiting.add(reject)
    work()
      .then(resolve, reject)
      .finally(() => waiting.delete(reject))
  })
}

/** The error of a crash, with the node that did it where that can be found out. Any other error stays as it is. */
export async function withSite(
  error: unknown,
  find: () => Promise<string | undefined>,
): Promise<unknown> {
  if (error !== crash || signalled === undefined || isSought) return error
  isSought = true
  const site = await find().catch(() => undefined)
  if (site !== undefined) crash = crashed(signalled, `${site} of this model`)
  return crash
}

function crashed(signal: number, place = 'this model'): AttncError {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0]
  return new AttncError(
    'RUNTIME_CRASHED',
    'model',
    `ONNX Runtime crashed (${name ?? `signal ${signal}`}) on ${place}: its checks let through something that it can't bear, such as a wrong input or attribute of a node.`,
    {
      suggestions: [
        'Export the model again, or have it checked: python -c "import onnx; onnx.checker.check_model(\'model.onnx\', full_check=True)".',
        'If the model runs elsewhere, please report it with its file.',
      ],
    },
  )
}
