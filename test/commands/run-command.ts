/** Commands run in this process, from the sources, with what they print and their exit code. */
import { resolve } from 'node:path'
import type { Command, Config } from '@oclif/core'
import { captureOutput } from '@oclif/test'

export const root = resolve(import.meta.dirname, '../..')
export const example = resolve(root, 'examples/tiny-stories')

export interface Ran {
  readonly stdout: string
  readonly stderr: string
  readonly error: Error | undefined
  readonly exitCode: number
}

export type CommandClass = typeof Command & (new (argv: string[], config: Config) => Command)

export async function runCommand(command: CommandClass, argv: readonly string[]): Promise<Ran> {
  const before = process.exitCode
  process.exitCode = 0
  try {
    const { stdout, stderr, error } = await captureOutput(() => command.run([...argv], root), {
      print: false,
      stripAnsi: true,
    })
    return { stdout, stderr, error, exitCode: Number(process.exitCode) }
  } finally {
    process.exitCode = before
  }
}

/** The object that `--json` printed. */
export async function runJson<Result>(
  command: CommandClass,
  argv: readonly string[],
): Promise<{ readonly json: Result; readonly exitCode: number }> {
  const ran = await runCommand(command, [...argv, '--json'])
  if (ran.error) throw ran.error
  return { json: JSON.parse(ran.stdout) as Result, exitCode: ran.exitCode }
}
