/** What a verification found, and the error it amounts to. */
import { AttncError, type ExitKind } from '../errors.js'

export interface VerifyCheck {
  /** The model's file, relative to its folder; empty where the folder as a whole is meant. */
  readonly file: string
  /** `reads`, `lawful`, `runs` … */
  readonly check: string
  readonly result: 'passed' | 'failed' | 'skipped'
  /** What was seen, or why nothing was looked at. */
  readonly detail: string
}

export interface VerifyReport {
  readonly format: 1
  readonly folder: string
  readonly passed: boolean
  readonly checks: readonly VerifyCheck[]
}

/** What a check says when it has something against the model. */
export class Objection extends Error {
  constructor(
    readonly kind: ExitKind,
    message: string,
  ) {
    super(message)
  }
}

/** What a check says when there is nothing to look at. */
export class Inapplicable extends Error {}

/** Runs checks one after the other; what is wrong is noted, not thrown. */
export class Checklist {
  readonly checks: VerifyCheck[] = []
  private firstKind: ExitKind | undefined

  constructor(
    readonly folder: string,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Whether the check passed; its text says what was seen. */
  async run(file: string, check: string, look: () => Promise<string> | string): Promise<boolean> {
    this.signal?.throwIfAborted()
    const note = (result: VerifyCheck['result'], detail: string): void => {
      this.checks.push({ file, check, result, detail })
    }
    try {
      note('passed', await look())
      return true
    } catch (error) {
      if (error instanceof Inapplicable) {
        note('skipped', error.message)
        return false
      }
      const kind = kindOf(error)
      if (this.signal?.aborted || !kind) throw error
      this.firstKind ??= kind
      note('failed', (error as Error).message)
      return false
    }
  }

  report(): VerifyReport {
    const passed = this.firstKind === undefined
    return { format: 1, folder: this.folder, passed, checks: this.checks }
  }

  /** Error: VERIFY_FAILED, with the exit code of the first check that failed. */
  assertPassed(): void {
    if (!this.firstKind) return
    const failed = this.checks.filter(({ result }) => result === 'failed')
    throw new AttncError(
      'VERIFY_FAILED',
      this.firstKind,
      `"${this.folder}" failed ${failed.length} of ${this.checks.length} checks: ${failed
        .map(({ file, check, detail }) => `${file ? `${file} ` : ''}${check}: ${detail}`)
        .join(' ')}`,
      {
        report: { ...this.report() },
        suggestions: [
          'Make the folder again with "attnc apply", or compare it with the original by "attnc compare".',
        ],
      },
    )
  }
}

function kindOf(error: unknown): ExitKind | undefined {
  if (error instanceof Objection) return error.kind
  // What a user did wrong on other commands is wrong with the folder here.
  if (error instanceof AttncError) return kindByExit(error.oclif.exit)
  return undefined
}

const kindByExit = (exit: number): ExitKind | undefined =>
  exit === 4 ? 'numeric' : exit === 7 ? 'runtime' : exit === 2 || exit === 3 ? 'model' : undefined
