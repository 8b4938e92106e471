import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import Train from '../../commands/train.js'
import type { TrainJson } from '../../src/cli/run-train.js'
import { loadModel } from '../../src/model-folder/load.js'
import { example, runCommand, runJson } from './run-command.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-train-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const text = join(example, 'calibration.txt')
const short = ['--data', text, '--samples', '8', '--sequence-length', '24', '--batch-size', '2']
const few = [...short, '--updates', '3', '--rank', '2', '--provider', 'cpu']

describe('train', () => {
  it('writes every model of the folder with the weights that were trained', async () => {
    const output = join(folder, 'trained')
    const argv = [example, ...few, '--teacher', example, '-o', output]
    const { json } = await runJson<TrainJson>(Train, argv)
    expect(json.curve.map(({ update }) => update)).toEqual([3])
    expect(Number.isFinite(json.best)).toBe(true)
    expect(readdirSync(output)).toEqual(
      expect.arrayContaining(['model.onnx', 'model_with_past.onnx', 'tokenizer.json']),
    )
    const report = JSON.parse(readFileSync(join(output, 'training.json'), 'utf8'))
    expect(report).toMatchObject({ method: { kind: 'lora', rank: 2, alpha: 4 }, seed: 0 })
    expect(loadModel(output).model.metadata.get('attnc.trained')).toMatch(/^[0-9a-f]{64}$/)
  }, 120_000)

  it.each([
    [['--rate', 'fast'], 'NUMBER_FORMAT'],
    [['--teacher-share', '2'], 'NUMBER_RANGE'],
    [['--held-out', 'nothing.txt'], 'DATA_MISSING'],
  ])(
    'refuses %j before the long work',
    async (more, code) => {
      const output = join(folder, 'trained')
      const { error } = await runCommand(Train, [example, ...few, ...more, '-o', output])
      expect(error).toMatchObject({ code })
      expect(readdirSync(folder)).toEqual([])
    },
    60_000,
  )
})
