/** How the library speaks: facts and progress to whoever started it, never to a console. */
export interface Log {
  info(message: string): void
  warn(code: string, message: string): void
  /** `done` of `total` of a step that takes a while, and how it stands. */
  progress(step: string, done: number, total: number, detail?: string): void
}

/** Hears nothing. */
export const silentLog: Log = { info: () => {}, warn: () => {}, progress: () => {} }
