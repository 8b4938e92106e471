/** Plans of several parts and replaced weights: in files, printed, carried out; passes by their names. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { passes } from '../../passes/index.js'
import { passFlag, passFlags } from '../../src/cli/pass-flags.js'
import { importModel } from '../../src/graph/import.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import type { Plan } from '../../src/plan/plan.js'
import { planFiles, printablePlan, readPlan } from '../../src/plan/plan-file.js'
import { choosePasses } from '../../src/prune/choose-passes.js'
import { attentionModel } from '../fuzz/models.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const load = () => importModel(attentionModel()).graph
const numbers = (rows: number) =>
  tensorOf(
    'float32',
    [8, rows],
    Array.from({ length: 8 * rows }, (_, index) => index),
  )

/** Neurons 0 and 1 go, then number 13 of those that are left, in weights that were replaced. */
const plan: Plan = {
  parts: [
    {
      pass: 'amp',
      options: { ratio: 0.1 },
      slices: [{ dimension: 'layer.0.width', remove: [0, 1] }],
    },
    {
      pass: 'tuned',
      options: undefined,
      weights: [{ name: 'up', tensor: numbers(14) }],
      slices: [{ dimension: 'layer.0.width', remove: [13] }],
    },
  ],
  made: { by: 'attnc', input: 'digest' },
}

describe('a plan of several parts', () => {
  test.each<[string, () => void]>([
    [
      'from its files',
      () => {
        for (const [name, content] of Object.entries(planFiles(plan)))
          writeFileSync(join(folder, name), content)
      },
    ],
    [
      'from what was printed',
      () => writeFileSync(join(folder, 'plan.json'), JSON.stringify(printablePlan(plan))),
    ],
  ])('comes back %s', (_, write) => {
    write()
    expect(readPlan(folder)).toEqual(plan)
  })

  test('counts members as the part before left them, and replaces weights whole', () => {
    const graph = load()
    for (const part of plan.parts) applyPart(graph, part)
    const weight = graph.values.get('up')?.constant
    expect(weight?.dims).toEqual([8, 13])
    const [first, second] = new Float32Array(weight?.bytes().slice().buffer ?? new ArrayBuffer(0))
    expect([first, second]).toEqual([0, 1])
  })

  test.each([
    ['a constant that is not there', 'nowhere', numbers(16)],
    ['a weight of another shape', 'up', numbers(14)],
    ['a weight of another type', 'up', tensorOf('float64', [8, 16], new Float64Array(128))],
  ])('is refused where it replaces %s', (_, name, tensor) => {
    const weights = [{ name, tensor }]
    expect(() => applyPart(load(), { weights, slices: [] })).toThrow(
      expect.objectContaining({ code: 'WEIGHT_SHAPE' }),
    )
  })
})

describe('passes', () => {
  test('are all known to the command line, with their flags', () => {
    expect(passes.map(({ name }) => name)).toEqual(passFlag.options)
    for (const flag of passes.flatMap(({ flags }) => flags))
      expect(Object.keys(passFlags)).toContain(flag)
  })

  test.each([
    ['one that is not there', ['distill'], 'PASS_UNKNOWN', '"distill"'],
    ['one twice', ['amp', 'amp'], 'PASS_ORDER', 'twice'],
  ])('are refused by name: %s', (_, names, code, text) => {
    expect(() => choosePasses(names, {}, readModel(load()))).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(text) }),
    )
  })

  test.each([
    [['vtrans'], {}, ['vtrans', 'lighten']],
    [['vtrans'], { lighten: false }, ['vtrans']],
    [['vtrans', 'quantize'], { recover: 'lora' }, ['vtrans', 'recover', 'lighten', 'quantize']],
    [['vtrans', 'lighten'], {}, ['vtrans', 'lighten']],
    [['amp'], {}, ['amp']],
    [['amp'], { lighten: true }, ['amp', 'lighten']],
  ])('that finish what others begin stand where they belong: %s with %o', (names, flags, all) => {
    const chosen = choosePasses(names, flags, readModel(load()))
    expect(chosen.map(({ name }) => name)).toEqual(all)
  })
})
