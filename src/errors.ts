/**
 * Every error a user can meet: a code that never changes meaning, an exit code, what was found,
 * what was expected, and the next step.
 */

/** What the process ends with, by kind of error. */
export const exitCodes = {
  unexpected: 1,
  usage: 2,
  model: 3,
  numeric: 4,
  metric: 5,
  budget: 6,
  runtime: 7,
  partial: 68,
  interrupted: 130,
} as const

/** What kind of failure it is: picks the exit code. */
export type ExitKind = keyof typeof exitCodes

/** `code` never changes its meaning; `suggestions` are next steps, each an instruction. */
export class AttncError extends Error {
  readonly suggestions: readonly string[]
  /** What was found all the same, as plain JSON: `--json` prints it beside the error. */
  readonly report: Readonly<Record<string, unknown>>
  /** The same for people, as lines: printed before the error. */
  readonly details: readonly string[]
  /** oclif reads the exit code here. */
  readonly oclif: { readonly exit: number }

  constructor(
    readonly code: string,
    readonly kind: ExitKind,
    message: string,
    options: {
      readonly suggestions?: readonly string[]
      readonly report?: Readonly<Record<string, unknown>>
      readonly details?: readonly string[]
      readonly cause?: unknown
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AttncError'
    this.suggestions = options.suggestions ?? []
    this.report = options.report ?? {}
    this.details = options.details ?? []
    this.oclif = { exit: exitCodes[kind] }
  }
}

/** A broken invariant of attnc itself. */
export class InternalError extends Error {
  override readonly name = 'InternalError'
}
