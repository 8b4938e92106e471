/** Bad input as a script meets it: the exit code, and with --json the error as an object on stdout. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import Apply from '../../commands/apply.js'
import Calibrate from '../../commands/calibrate.js'
import Eval from '../../commands/eval.js'
import Inspect from '../../commands/inspect.js'
import Prune from '../../commands/prune.js'
import Sweep from '../../commands/sweep.js'
import Train from '../../commands/train.js'
import type { ErrorReport } from '../../src/cli/base-command.js'
import { encodeModel, toBytes } from '../../src/onnx/codec.js'
import { type CommandClass, example, runCommand } from '../commands/run-command.js'
import { attentionModel } from '../fuzz/models.js'
import { listing } from './refusal.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc test – ü '))
  writeFileSync(join(folder, 'text.onnx'), 'once upon a time')
  writeFileSync(join(folder, 'empty.txt'), '')
  mkdirSync(join(folder, 'full'))
  writeFileSync(join(folder, 'full', 'model.onnx'), '')
  mkdirSync(join(folder, 'held'))
  writeFileSync(join(folder, 'held', 'model.onnx'), toBytes(encodeModel(attentionModel())))
  writeFileSync(join(folder, 'held', 'text.txt'), 'once upon a time')
  const slices = [{ dimension: 'layer.0.width', remove: Array.from({ length: 512 }, (_, i) => i) }]
  writeFileSync(join(folder, 'all.json'), JSON.stringify({ format: 1, slices }))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A file of results below something that is no folder. */
const below = (flag: string): string =>
  `--data EXAMPLE/calibration.txt ${flag} FOLDER/empty.txt/results`

const nowhere = 'FOLDER/empty.txt/results'
const unwritable = ['OUTPUT_UNWRITABLE', 2] as const

describe('refused by name, with nothing written', () => {
  test.each<[command: string, from: CommandClass, argv: string, code: string, exit: number]>([
    ['inspect', Inspect, 'FOLDER/text.onnx', 'NOT_PROTOBUF', 3],
    ['inspect', Inspect, 'FOLDER/gone', 'MODEL_NOT_FOUND', 3],
    ['prune', Prune, 'FOLDER/text.onnx -o FOLDER/out', 'NOT_PROTOBUF', 3],
    ['prune', Prune, 'EXAMPLE -o FOLDER/full --ratio 0.2', 'OUTPUT_EXISTS', 2],
    ['prune', Prune, 'EXAMPLE -o FOLDER/out --data FOLDER/empty.txt', 'DATA_EMPTY', 2],
    ['prune', Prune, 'EXAMPLE -o FOLDER/out --data FOLDER/gone.txt', 'DATA_MISSING', 2],
    ['prune', Prune, `EXAMPLE -o FOLDER/out ${below('--plan-out')}`, 'OUTPUT_UNWRITABLE', 2],
    ['prune', Prune, `EXAMPLE -o FOLDER/out ${below('--junit')}`, 'OUTPUT_UNWRITABLE', 2],
    ['prune', Prune, 'EXAMPLE -o FOLDER/out --plan-out FOLDER/full', 'OUTPUT_NOT_A_FILE', 2],
    ['prune', Prune, `EXAMPLE -o FOLDER/out --plan-out FOLDER/${'x'.repeat(300)}`, ...unwritable],
    ['eval', Eval, `EXAMPLE ${below('--junit')}`, 'OUTPUT_UNWRITABLE', 2],
    ['train', Train, `EXAMPLE -o FOLDER/out ${below('--adapter-out')}`, 'OUTPUT_UNWRITABLE', 2],
    ['train', Train, `EXAMPLE -o FOLDER/out ${below('--checkpoint')}`, 'OUTPUT_UNWRITABLE', 2],
    ['prune', Prune, 'HELD -o HELD --force --data HELD/text.txt', 'OUTPUT_CONTAINS_INPUT', 2],
    ['train', Train, 'HELD -o HELD --force --data HELD/text.txt', 'OUTPUT_CONTAINS_INPUT', 2],
    // Said before the data are looked for.
    ['calibrate', Calibrate, `EXAMPLE --data FOLDER/gone.txt -o ${nowhere}`, ...unwritable],
    ['sweep', Sweep, `EXAMPLE --data FOLDER/gone.txt --eval x -o ${nowhere}`, ...unwritable],
    ['apply', Apply, 'EXAMPLE -o FOLDER/out --plan FOLDER/all.json', 'LAYER_EMPTIED', 2],
    ['apply', Apply, 'EXAMPLE -o FOLDER/out --plan FOLDER/gone.json', 'PLAN_MISSING', 2],
  ])('%s: %#', async (_, command, argv, code, exit) => {
    const before = listing(folder)
    const words = argv
      .split(' ')
      .map((word) =>
        word
          .replace('HELD', join(folder, 'held'))
          .replace('FOLDER', folder)
          .replace('EXAMPLE', example),
      )
    const { stdout, exitCode } = await runCommand(command, [...words, '--json'])
    const { error } = JSON.parse(stdout) as ErrorReport
    expect(error).toMatchObject({ code, suggestions: [expect.any(String)] })
    expect(exitCode).toBe(exit)
    expect(listing(folder)).toEqual(before)
  })
})
