/** How the library speaks: facts and progress to whoever started it, never to a console. */
export interface Log {
  info(message: string): void
  warn(code: string, message: string): void
  /** `done` of `total` of a step that takes a while. */
  progress(step: string, done: number, total: number): void
}

export const silentLog: Log = { info: () => {}, warn: () => {}, progress: () => {} }
