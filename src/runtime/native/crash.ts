/**
 * Faults inside ONNX Runtime (a damaged model can get past its checks) as errors: the thread that had one stays where
 * it is for good, what waits for it is told, and the process can clean up and end. For programs: it takes over the
 * process's signals, so a library doesn't turn it on by itself.
 */
import { Socket } from 'node:net'
import { constants } from 'node:os'
import { AttncError } from '../../errors.js'
import type { NativeAddon } from './library.js'

let isWanted = false
let watching: NativeAddon | undefined
let crash: AttncError | undefined
const waiting = new Set<(reason: AttncError) => void>()

/** Turns it on for sessions that are opened from now on, and for good. */
export function surviveCrashes(): void {
  isWanted = true
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

/** Before the first session, where it is wanted and the addon was built since it can. */
export function watchForCrashes(addon: NativeAddon): void {
  if (!isWanted || watching || !addon.watchForCrashes) return
  watching = addon
  const pipe = new Socket({ fd: addon.watchForCrashes(), readable: true, writable: false })
  pipe.unref()
  pipe.on('data', ([signal]) => {
    crash = crashed(signal ?? 0)
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

function crashed(signal: number): AttncError {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0]
  return new AttncError(
    'RUNTIME_CRASHED',
    'model',
    `ONNX Runtime crashed (${name ?? `signal ${signal}`}) on this model: its checks let through something that it can't bear, such as a wrong input or attribute of a node.`,
    {
      suggestions: [
        'Export the model again, or have it checked: python -c "import onnx; onnx.checker.check_model(\'model.onnx\', full_check=True)".',
        'If the model runs elsewhere, please report it with its file.',
      ],
    },
  )
}
