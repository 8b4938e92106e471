/**
 * The library's log on a terminal: one line on stderr that moves while a step lasts longer than two
 * seconds, with the rate and the time left where these are known. Silent where nobody looks: piped,
 * `--json`, `--quiet`.
 */
import type { Ora } from 'ora'
import type { Log } from '../log.js'

export interface Terminal extends Log {
  /** Clears the line; called before anything is printed and at the end. */
  stop(): void
}

const SHOW_AFTER_MS = 2000

/** The part of a terminal that is needed here. */
type Stream = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>

export function openTerminal(options: {
  readonly isSilent: boolean
  warn(code: string, message: string): void
  readonly stream?: Stream
}): Terminal {
  const { isSilent, stream = process.stderr } = options
  knowWidth(stream)
  let spinner: Ora | undefined
  let ora: typeof import('ora') | undefined
  let step: string | undefined
  let started = 0
  let waiting: NodeJS.Timeout | undefined
  const stop = (): void => {
    clearInterval(waiting)
    spinner?.stop()
    spinner = undefined
    step = undefined
  }
  const show = (text: string): void => {
    if (!stream.isTTY) return
    // Loaded by whoever waits long enough to see it; the first line comes one step later.
    if (!ora) {
      void import('ora').then((loaded) => {
        ora = loaded
      })
      return
    }
    const terminal = stream as NodeJS.WriteStream
    spinner ??= ora.default({ stream: terminal, discardStdin: false }).start()
    spinner.text = text
  }
  /** Until a step says how far it is: what was printed last says what goes on. */
  const wait = (): void => {
    stop()
    if (isSilent) return
    const since = Date.now()
    waiting = setInterval(() => {
      const elapsedMs = Date.now() - since
      if (elapsedMs >= SHOW_AFTER_MS) show(`working · ${describeSeconds(elapsedMs / 1000)}`)
    }, 500)
    waiting.unref()
  }
  wait()
  return {
    stop,
    info(message) {
      if (isSilent) return
      stop()
      stream.write(`${message}\n`)
      wait()
    },
    warn(code, message) {
      spinner?.stop()
      options.warn(code, message)
      spinner?.start()
    },
    progress(now, done, total, detail) {
      if (isSilent) return
      if (done >= total) {
        wait()
        return
      }
      if (now !== step) {
        stop()
        step = now
        started = Date.now()
      }
      const elapsedMs = Date.now() - started
      if (elapsedMs < SHOW_AFTER_MS) return
      const text = progressText(now, done, total, elapsedMs)
      show(detail ? `${text} · ${detail}` : text)
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
