/**
 * What all commands share: the log on the terminal, Ctrl-C as an AbortSignal, errors with their exit
 * code, and `--json`, which prints one object and nothing else on stdout.
 */
import { Command, type Errors, Flags } from '@oclif/core'
import { AttncError, exitCodes } from '../errors.js'
import { hasCrashed, leaveWithoutWaiting, surviveCrashes } from '../runtime/native/crash.js'
import type { CommandContext } from './command-context.js'
import type { KnownFlags } from './config-file.js'
import { openTerminal, type Terminal } from './progress.js'
import { appendToReport, summaryText } from './summary.js'
import { explainUsage } from './usage-error.js'
import { withoutStack } from './without-stack.js'

export interface ErrorReport {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly suggestions: readonly string[]
  }
}

/** Ctrl-C, kill, and the end of the terminal. */
const ending = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true

  static override baseFlags = {
    threads: Flags.integer({
      min: 1,
      // ONNX Runtime starts as many as it is told, for each session.
      max: 1024,
      description: 'threads that ONNX Runtime may use; as many as there are cores by default',
      helpGroup: 'GLOBAL',
    }),
    quiet: Flags.boolean({ description: 'only results and errors', helpGroup: 'GLOBAL' }),
  }

  private readonly controller = new AbortController()
  private terminal: Terminal | undefined
  private summary: string | undefined
  private readonly printed: string[] = []
  /** The file that some of the flags come from. */
  private defaults: string | undefined

  /** Aborted by Ctrl-C and by the end of the terminal. */
  protected get signal(): AbortSignal {
    return this.controller.signal
  }

  protected get output(): Terminal {
    this.terminal ??= openTerminal({
      isSilent: this.jsonEnabled() || this.argv.includes('--quiet') || !process.stderr.isTTY,
      warn: (code, message) => this.warn(`${message} (${code})`),
    })
    return this.terminal
  }

  /** What every library call gets from the command line. */
  protected context(flags: {
    readonly threads?: number | undefined
    readonly summary?: string | undefined
  }): CommandContext {
    // A file that can't be written is refused before the work begins.
    if (flags.summary !== undefined) appendToReport(flags.summary, '')
    this.summary = flags.summary
    return { log: this.output, signal: this.signal, threads: flags.threads }
  }

  override async init(): Promise<void> {
    await super.init()
    surviveCrashes()
    for (const name of ending) process.on(name, this.interrupt)
    await this.addDefaults()
  }

  /** Defaults of the project's file go in front of what was typed. */
  private async addDefaults(): Promise<void> {
    const { configArguments, findConfig } = await import('./config-file.js')
    const found = await findConfig(process.cwd())
    if (!found) return
    const id = this.id ?? this.ctor.id
    const commands = new Map<string, KnownFlags>([
      ...this.config.commands.map((each): [string, KnownFlags] => [each.id, each.flags]),
      [id, { ...this.ctor.baseFlags, ...this.ctor.flags }],
    ])
    const defaults = configArguments(found, id, commands, this.argv)
    if (defaults.length > 0) this.defaults = found.path
    this.argv = [...defaults, ...this.argv]
  }

  private readonly interrupt = (): void => {
    // A second Ctrl-C doesn't wait for the clean-up.
    if (this.signal.aborted) {
      leaveWithoutWaiting()
      process.exit(exitCodes.interrupted)
    }
    this.controller.abort(
      new AttncError('INTERRUPTED', 'interrupted', 'Interrupted; no output was left half written.'),
    )
  }

  override log(message?: string, ...rest: unknown[]): void {
    this.terminal?.stop()
    this.printed.push(message ?? '')
    super.log(message, ...rest)
  }

  override async catch(error: Error): Promise<void> {
    this.terminal?.stop()
    const known = this.signal.aborted ? (this.signal.reason as Error) : this.explain(error)
    if (known instanceof AttncError) for (const line of known.details) this.log(line)
    process.exitCode = exitCodeOf(known)
    this.summarise(known)
    if (this.jsonEnabled()) this.logJson(this.toErrorJson(known))
    else throw known instanceof AttncError ? withoutStack(known) : known
  }

  private explain(error: Error): Error {
    const id = this.id ?? this.ctor.id
    const command = `${this.config.bin} ${id.replaceAll(':', ' ')}`
    const flags = { ...this.ctor.baseFlags, ...this.ctor.flags }
    return explainUsage(error, { command, flags, defaults: this.defaults })
  }

  override async finally(error: Error | undefined): Promise<void> {
    this.terminal?.stop()
    if (!error) this.summarise(undefined)
    for (const name of ending) process.off(name, this.interrupt)
    await super.finally(error)
    if (this.signal.aborted) leaveWithoutWaiting()
    // Else the process would wait for work that crashed or was given up.
    if (this.jsonEnabled() && (hasCrashed() || this.signal.aborted)) process.exit()
  }

  /** Once: a failure has its summary before it is passed on. */
  private summarise(error: Error | undefined): void {
    const path = this.summary
    this.summary = undefined
    if (path === undefined) return
    const command = [this.id ?? this.ctor.id, ...this.argv].map(String)
    const exitCode = Number(process.exitCode ?? 0)
    try {
      appendToReport(path, summaryText({ command, lines: this.printed, error, exitCode }))
    } catch (full) {
      throw full instanceof AttncError ? withoutStack(full) : full
    }
  }

  override toErrorJson(error: unknown): ErrorReport {
    const { code, message, suggestions, report } = error as Partial<AttncError>
    return {
      ...report,
      error: {
        code: code ?? (exitCodeOf(error) === exitCodes.usage ? 'USAGE' : 'UNEXPECTED'),
        message: message ?? String(error),
        suggestions: suggestions ?? [],
      },
    }
  }
}

function exitCodeOf(error: unknown): number {
  const { oclif } = error as Partial<Errors.CLIError>
  return oclif?.exit ?? exitCodes.unexpected
}
