/** Protecting everything is refused before any data are looked at, and for what it is. */
import { expect, test } from 'vitest'
import Prune from '../../commands/prune.js'
import { amp, type ChosenPass, sparsify, vtrans } from '../../src/index.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { example, runCommand } from '../commands/run-command.js'

const view = readModel(loadModel(example).model.graph)
const everything = [0, 1, 2, 3]
const widths = everything.map((layer) => `layer.${layer}.width`)

/** As the main job asks, before anything runs. */
const check = (pass: ChosenPass): void => pass.check?.({ view, batches: [], canCalibrate: true })

test.each<[string, ChosenPass, string, RegExp]>([
  ['amp', amp({ protect: everything }), 'NOTHING_PRUNABLE', /is protected/],
  [
    'amp of one kind of block',
    amp({ protect: widths, scope: 'feedForward' }),
    'NOTHING_PRUNABLE',
    /is protected/,
  ],
  ['vtrans', vtrans({ protect: everything }), 'NOTHING_PRUNABLE', /is protected/],
  [
    'sparsify',
    sparsify({ pattern: 'window:64', protect: everything }),
    'NOTHING_SPARSIFIED',
    /is protected/,
  ],
])('%s says so', (_, pass, code, message) => {
  expect(() => check(pass)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message), oclif: { exit: 68 } }),
  )
})

test.each<[string, ChosenPass]>([
  ['amp', amp({ protect: [0, 1, 2] })],
  ['amp of all blocks', amp({ protect: widths })],
  ['vtrans', vtrans({ protect: ['layer.0.width'] })],
  ['sparsify', sparsify({ pattern: 'window:64', protect: [0, 1, 'attention.2'] })],
])('%s goes on where something is left', (_, pass) => {
  expect(() => check(pass)).not.toThrow()
})

test('half precision, which is for the whole model, says that nothing is kept out', async () => {
  const flags = ['--pass', 'quantize', '--precision', 'float16', '--protect', 'layer 0']
  const { stderr, exitCode } = await runCommand(Prune, [example, ...flags, '--dry-run'])
  expect(exitCode).toBe(0)
  expect(stderr).toContain('PROTECT_UNUSED')
})
