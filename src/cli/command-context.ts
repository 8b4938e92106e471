import type { Log } from '../log.js'

/** What a command hands to the library beside its flags. */
export interface CommandContext {
  readonly log: Log
  readonly signal: AbortSignal
  readonly threads: number | undefined
}
