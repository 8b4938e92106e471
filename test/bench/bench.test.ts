/** What a measurement says of itself: shapes, sizes, which model decodes, and what can't be compared. */
import { describe, expect, test } from 'vitest'
import { bench } from '../../src/bench/bench.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { sharedModel } from '../shared-models.js'

const stories = sharedModel('tiny-stories')
const zoo = sharedModel('zoo')
const quick = {
  log: silentLog,
  runs: 2,
  warmUp: 1,
  threads: 1,
  sequenceLength: 64,
  decodeTokens: 2,
}

describe.skipIf(!stories || !zoo)('bench', () => {
  test('measures reading, saying, memory and size of two models in turns', {
    timeout: 60_000,
  }, async () => {
    const models = [loadModel(stories as string), loadModel(stories as string)]
    const found = await bench(models, quick)
    expect(found.shape).toEqual({ input_ids: [1, 64], attention_mask: [1, 64] })
    expect(found).toMatchObject({ provider: 'cpu', threads: 1, data: 'random' })
    for (const { prefill, decode, memory, bytes } of found.models) {
      expect(prefill.runs).toBe(2)
      expect(decode).toMatchObject({ file: 'model_with_past.onnx', runs: 2 })
      expect(memory?.peakBytes).toBeGreaterThan(bytes / 2)
      expect(memory?.peakBytes).toBeGreaterThanOrEqual(memory?.openedBytes ?? Number.NaN)
    }
    expect(found.ratios).toMatchObject({ bytes: 1, parameters: 1 })
    expect(found.ratios?.prefill.ratio).toBeGreaterThan(0)
    expect(found.ratios?.decode?.ratio).toBeGreaterThan(0)
  })

  test.each(['vit-ts', 'bert-qdq', 't5-ts'])(
    '%s, which has no cache, is measured on one run of its inputs',
    async (name) => {
      const found = await bench([loadModel(`${zoo}/${name}`)], { ...quick, memory: false })
      expect(found.models[0]?.decode).toBeNull()
      expect(found.models[0]?.memory).toBeNull()
      expect(found.ratios).toBeNull()
    },
  )

  test('models that take different inputs are not compared', async () => {
    const models = [loadModel(`${zoo}/bert-ts`), loadModel(`${zoo}/vit-ts`)]
    await expect(bench(models, quick)).rejects.toMatchObject({
      code: 'INPUTS_DIFFER',
      oclif: { exit: 2 },
    })
  })
})
