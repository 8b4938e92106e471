/** Layers of a student beside those of its teacher. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openData } from '../../src/data/open-data.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { matchLayers, pairFromTop } from '../../src/train/loss/layer-match.js'
import { train } from '../../src/train/train.js'
import { sharedModel } from '../shared-models.js'

describe('layers', () => {
  it('are paired from the top, and pairs never cross', () => {
    expect(
      pairFromTop([
        [1, 2, 0],
        [5, 1, 9],
        [9, 3, 4],
      ]),
    ).toEqual([0, 1, 1])
    const matrix = fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 6 }))
      .chain(([rows, columns]) =>
        fc.array(fc.array(fc.nat(), { minLength: columns, maxLength: columns }), {
          minLength: rows,
          maxLength: rows,
        }),
      )
    fc.assert(
      fc.property(matrix, (distances) => {
        const found = pairFromTop(distances)
        expect(found).toEqual(found.toSorted((a, b) => a - b))
      }),
      { seed: 5, numRuns: 50 },
    )
  })

  it('of the same model are paired with themselves, and their distance is learned', async () => {
    const path = sharedModel('zoo/llama-ts')
    if (!path) return
    const { model, folder } = loadModel(path)
    const { vocabulary } = readModel(model.graph)
    const batches = openData('random', {
      model,
      folder,
      vocabulary,
      sequenceLength: 12,
      samples: 16,
      batchSize: 2,
    })
    const [batch] = batches
    if (!batch) throw new Error('no data')
    const options = { log: silentLog, threads: 1 }
    const pairs = await matchLayers(model, model, batch, options)
    expect(pairs).toHaveLength(2)
    for (const { student, teacher } of pairs) expect(student).toBe(teacher)
    const found = await train(model, {
      ...options,
      batches,
      method: { kind: 'lora', rank: 2, alpha: 4 },
      updates: 2,
      judgeEvery: 1,
      batchSize: 2,
      rate: 0.1,
      seed: 1,
      teacher: { model, share: 1, temperature: 2, hiddenShare: 0.5 },
    })
    // A model that equals its teacher has nothing to learn; after a step away from it, it has.
    expect(found.curve[0]?.training).toBeCloseTo(0, 5)
  }, 60_000)
})
