/**
 * The library's log on a terminal: one line on stderr that moves while a step lasts longer than two
 * seconds, with the rate and the time left. Silent where nobody looks: piped, `--json`, `--quiet`.
 */
import type { Ora } from 'ora'
import type { Log } from '../log.js'

export interface Terminal extends Log {
  /** Clears the line; called before anything is printed and at the end. */
  stop(): void
}

const SHOW_AFTER_MS = 2000

export function openTerminal(options: {
  readonly isSilent: boolean
  warn(code: string, message: string): void
}): Terminal {
  const { isSilent } = options
  knowWidth(process.stderr)
  let spinner: Ora | undefined
  let ora: typeof import('ora') | undefined
  let step: string | undefined
  let started = 0
  const stop = (): void => {
    spinner?.stop()
    spinner = undefined
    step = undefined
  }
  return {
    stop,
    info(message) {
      if (isSilent) return
      const text = spinner?.text
      spinner?.stop()
      process.stderr.write(`${message}\n`)
      if (text !== undefined) spinner?.start(text)
    },
    warn(code, message) {
      spinner?.stop()
      options.warn(code, message)
      if (step !== undefined) spinner?.start()
    },
    progress(now, done, total, detail) {
      if (isSilent) return
      if (now !== step) {
        stop()
        step = now
        started = Date.now()
      }
      const elapsedMs = Date.now() - started
      if (done >= total) {
        spinner?.stop()
        return
      }
      if (elapsedMs < SHOW_AFTER_MS || !process.stderr.isTTY) return
      // Loaded by whoever waits long enough to see it; the first line comes one step later.
      if (!ora) {
        void import('ora').then((loaded) => {
          ora = loaded
        })
        return
      }
      spinner ??= ora.default({ stream: process.stderr, discardStdin: false }).start()
      const text = progressText(now, done, total, elapsedMs)
      spinner.text = detail ? `${text} · ${detail}` : text
    },
  }
}

/** Terminals of no known size say 0 columns; a line that is moved would then be cleared without end. */
export function knowWidth(stream: { columns?: number | undefined }): void {
  if (stream.columns === 0) stream.columns = 80
}

/** `calibrating 12/64 · 1.4/s · 37 s left` */
function progressText(step: string, done: number, total: number, elapsedMs: number): string {
  const rate = done / (elapsedMs / 1000)
  const left = rate > 0 ? (total - done) / rate : Number.POSITIVE_INFINITY
  const speed = rate >= 1 ? `${rate.toFixed(1)}/s` : `${(1 / rate).toFixed(1)} s each`
  const rest = Number.isFinite(left) ? ` · ${describeSeconds(left)} left` : ''
  return `${step} ${done}/${total} · ${speed}${rest}`
}

function describeSeconds(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
