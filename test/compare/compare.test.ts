/** Two models side by side: what is said of blocks, constants and numbers. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compare } from '../../src/compare/compare.js'
import { OutputComparison } from '../../src/compare/outputs.js'
import type { Batch } from '../../src/data/batch.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { sharedModel } from '../shared-models.js'

const zoo = sharedModel('zoo')
const options = { log: silentLog, threads: 1 }

describe.skipIf(!zoo)('a model and what was cut out of it', () => {
  let folder = ''
  const original = `${zoo}/llama-past-dyn`
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'attnc-compare-'))
    await applyToFolder({
      source: loadModel(original),
      plan: {
        parts: [
          {
            slices: [
              { dimension: 'layer.0.keyValueHeads', remove: [1] },
              { dimension: 'layer.1.width', remove: [0, 3] },
            ],
          },
        ],
      },
      output: join(folder, 'smaller'),
      single: false,
      log: silentLog,
    })
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('says block by block what went, and names caches of another shape', async () => {
    const found = await compare(loadModel(original), loadModel(join(folder, 'smaller')), options)
    const { blocks, parameters, constants, metadata } = found.structure
    const attention = blocks.filter(({ block }) => block === 'self')
    expect(
      attention.map(({ before, after }) => [before?.keyValueHeads, after?.keyValueHeads]),
    ).toEqual([
      [2, 1],
      [2, 2],
    ])
    const width = blocks.find(({ layer, block }) => layer === 1 && block === 'feedForward')
    expect(width?.after?.width).toBe((width?.before?.width ?? 0) - 2)
    expect(parameters.after).toBeLessThan(parameters.before ?? 0)
    expect(constants.changed.length).toBeGreaterThan(0)
    const shapes = constants.changed.filter(({ change }) => change === 'shape')
    expect(new Set(shapes.map(({ layer }) => layer))).toEqual(new Set([0, 1]))
    expect(metadata.map(({ name }) => name)).toContain('attnc.plan')
    const byName = new Map(found.outputs.map((each) => [each.name, each.difference]))
    expect(byName.get('logits')?.largest).toBeGreaterThan(0)
    expect(byName.get('present_0_key')).toBeNull()
    expect(byName.get('present_1_key')).not.toBeNull()
  })

  test('finds nothing between a model and itself', async () => {
    const found = await compare(loadModel(original), loadModel(original), options)
    const { operators, inputs, outputs, opsets, metadata, constants } = found.structure
    for (const list of [operators, inputs, outputs, opsets, metadata, constants.changed])
      expect(list).toEqual([])
    for (const { difference } of found.outputs)
      expect(difference).toMatchObject({ largest: 0, mean: 0, agreement: 1 })
  })

  test.each(['vit-ts', 'bert-int8', 't5-ts'])(
    '%s is fed something that tells models apart',
    async (name) => {
      const source = loadModel(`${zoo}/${name}`)
      const found = await compare(source, loadModel(`${zoo}/${name}`), options)
      for (const { difference } of found.outputs) expect(difference?.rows).toBeGreaterThan(0)
    },
  )

  test('graphs of different inputs are compared only without numbers', async () => {
    const [one, other] = [loadModel(`${zoo}/bert-ts`), loadModel(`${zoo}/vit-ts`)]
    await expect(compare(one, other, options)).rejects.toMatchObject({ code: 'INPUTS_DIFFER' })
    const found = await compare(one, other, { ...options, numbers: false })
    expect(found.outputs).toEqual([])
    expect(found.structure.inputs.length).toBeGreaterThan(0)
  })
})

const batch = (mask?: number[]): Batch => ({
  feeds: {},
  ids: [],
  tokenMask: mask && tensorOf('float32', [1, mask.length], mask),
})

test('numbers are compared row by row, padding left out', () => {
  const comparison = new OutputComparison()
  const one = tensorOf('float32', [1, 3, 2], [1, 0, 0, 2, 9, 9])
  const other = tensorOf('float32', [1, 3, 2], [1, 0, 2, 0, 0, 0])
  comparison.add({ y: one }, { y: other }, batch([1, 1, 0]))
  expect(comparison.result()[0]?.difference).toEqual({
    largest: 2,
    mean: 1,
    largestRelative: 1,
    meanRelative: 4 / 3,
    cosine: 0.5,
    agreement: 0.5,
    rows: 2,
  })
})

test.each([
  ['first', [1, Number.NaN], [1, 2]],
  ['second', [1, 2], [1, Number.NaN]],
])('NaN of the %s model ends the comparison', (place, one, other) => {
  const add = () =>
    new OutputComparison().add(
      { y: tensorOf('float32', [1, 2], one) },
      { y: tensorOf('float32', [1, 2], other) },
      batch(),
    )
  expect(add).toThrow(
    expect.objectContaining({
      code: 'NOT_A_NUMBER',
      message: expect.stringContaining(place),
      oclif: { exit: 4 },
    }),
  )
})

test('equal infinities are no difference', () => {
  const comparison = new OutputComparison()
  const masked = tensorOf('float32', [1, 2], [Number.NEGATIVE_INFINITY, 1])
  comparison.add({ y: masked }, { y: masked }, batch())
  expect(comparison.result()[0]?.difference).toMatchObject({ largest: 0, largestRelative: 0 })
})
