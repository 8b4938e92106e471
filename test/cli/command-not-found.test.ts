/** A command that does not exist: an error for people, an object on stdout for scripts. */
import { captureOutput } from '@oclif/test'
import { afterEach, describe, expect, it } from 'vitest'
import commandNotFound from '../../src/cli/command-not-found.js'

const config = { bin: 'attnc', commandIDs: ['prune', 'apply', 'calibrate:merge'] }
const error = {
  code: 'COMMAND_UNKNOWN',
  message: 'There is no command "pruen".',
  suggestions: ['Did you mean "attnc prune"?', '"attnc --help" lists all commands.'],
}

describe('an unknown command', () => {
  const before = process.exitCode
  afterEach(() => {
    process.exitCode = before
  })

  it('is refused with the nearest there is', async () => {
    await expect(commandNotFound({ id: 'pruen', argv: ['model'], config })).rejects.toMatchObject({
      ...error,
      oclif: { exit: 2 },
    })
  })

  it('that is known, with an argument that it does not take, is said to take none', async () => {
    await expect(commandNotFound({ id: 'apply:extra', config })).rejects.toMatchObject({
      code: 'USAGE',
      message: 'attnc apply takes no arguments: "extra" is none of its flags.',
    })
  })

  it('is called an error, without the name of a class', async () => {
    const refused: unknown = await commandNotFound({ id: 'pruen', config }).catch((it) => it)
    expect(String(refused)).toBe(`Error: ${error.message}`)
  })

  it.each([
    { id: 'pruen', argv: ['model', '--json'] },
    { id: 'pruen:model:--json', argv: [] },
  ])('prints one object with --json: %j', async (typed) => {
    const { stdout, stderr } = await captureOutput(() => commandNotFound({ ...typed, config }), {
      print: false,
    })
    expect(JSON.parse(stdout)).toEqual({ error })
    expect(stderr).toBe('')
    expect(process.exitCode).toBe(2)
  })
})
