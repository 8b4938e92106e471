/** What was typed wrongly is said in a line or two, with the nearest flag, and as an object with --json. */
import { describe, expect, it, test } from 'vitest'
import Bench from '../../commands/bench.js'
import Prune from '../../commands/prune.js'
import Sweep from '../../commands/sweep.js'
import type { ErrorReport } from '../../src/cli/base-command.js'
import { nearestOf } from '../../src/cli/nearest.js'
import { explainUsage } from '../../src/cli/usage-error.js'
import { type CommandClass, runCommand } from '../commands/run-command.js'

describe('wrong words', () => {
  it.each<[string, CommandClass, string, string, string[]]>([
    ['a flag', Prune, 'model --rato 0.3', 'prune has no flag --rato.', ['--rate or --ratio?']],
    ['a flag with a value', Prune, 'model --rato=3', 'prune has no flag --rato.', ['--ratio?']],
    ['a flag like no other', Bench, 'model --fastest', 'bench has no flag --fastest.', []],
    ['no model', Prune, '--ratio 0.3', 'prune needs MODEL, and none was given.', []],
    ['two more models', Bench, 'a b c d', 'Unexpected arguments: c, d.', []],
    ['no number', Bench, 'a --runs some', '--runs: expected an integer but received: some.', []],
    ['threads without end', Bench, 'a --threads 99999', 'less than or equal to 1024 but', []],
    ['no value', Bench, 'a --runs', 'Flag --runs expects a value.', []],
    ['flags that are needed', Sweep, 'a', 'required flag --eval; Missing required flag --out', []],
    ['a word of a list', Prune, 'a --scope head', 'one of: all, heads, feedForward.', []],
  ])('%s', async (_, command, argv, message, suggestions) => {
    const { stdout, exitCode } = await runCommand(command, [...argv.split(' '), '--json'])
    const { error } = JSON.parse(stdout) as ErrorReport
    expect(exitCode).toBe(2)
    expect(error.code).toBe('USAGE')
    expect(error.message).toContain(message)
    expect(error.message).not.toContain('\n')
    for (const each of suggestions) expect(error.suggestions[0]).toContain(each)
    expect(error.suggestions.at(-1)).toMatch(/--help" lists arguments and flags\.$/)
  })
})

test('a flag of several values leaves the model alone', async () => {
  const { stdout } = await runCommand(Prune, ['--roles', 'norms', 'nowhere', '--dry-run', '--json'])
  expect((JSON.parse(stdout) as ErrorReport).error.code).toBe('MODEL_NOT_FOUND')
})

test('the nearest words are all of the same distance, and none is far', () => {
  expect(nearestOf('rato', ['rate', 'ratio', 'seed'])).toEqual(['rate', 'ratio'])
  expect(nearestOf('raito', ['rate', 'ratio'])).toEqual(['ratio'])
  expect(nearestOf('x', ['p', 'seed'])).toEqual([])
})

test('a wrong value that comes from a file of defaults names the file', () => {
  const typed = { command: 'attnc bench', flags: {}, defaults: '/project/.attncrc' }
  expect(explainUsage(new Error('Parsing --runs \n\tExpected an integer'), typed)).toMatchObject({
    message: '--runs: expected an integer.',
    suggestions: ['Some flags come from "/project/.attncrc".', expect.any(String)],
  })
})
