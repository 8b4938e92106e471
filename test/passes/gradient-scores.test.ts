/** Scores by gradients, beside what the loss does when a unit is turned down a little. */
import { expect, it } from 'vitest'
import { measureGradientScores } from '../../passes/amp/gradient-scores.js'
import { openData } from '../../src/data/open-data.js'
import { perplexity } from '../../src/evaluate/perplexity.js'
import { edit } from '../../src/graph/edit.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { toWeight } from '../../src/model/projection.js'
import { loadModel } from '../../src/model-folder/load.js'
import { findPrunable } from '../../src/repair/prunable.js'
import { sharedModel } from '../shared-models.js'

const path = sharedModel('zoo/llama-ts')
const options = { log: silentLog, threads: 1 }

it.skipIf(!path)(
  'a unit is worth what the loss changes by as it goes',
  async () => {
    const { model, folder } = loadModel(path as string)
    const view = readModel(model.graph)
    const { vocabulary } = view
    const batches = openData('random', {
      model,
      folder,
      vocabulary,
      sequenceLength: 12,
      samples: 4,
      batchSize: 2,
    })
    const blocks = findPrunable(view)
    const taylor = await measureGradientScores(model, blocks, batches, {
      ...options,
      criterion: 'taylor',
    })
    const fisher = await measureGradientScores(model, blocks, batches, {
      ...options,
      criterion: 'fisher',
    })
    expect([...taylor.keys()]).toEqual(blocks.map(({ key }) => key))
    const step = 0.02
    for (const block of [blocks[0], blocks[1]]) {
      const unit = 1
      const { projection, key } = block as NonNullable<typeof block>
      const rows = block?.choices[0]?.units[unit]?.rows ?? []
      if (!projection) throw new Error('no projection')
      const lossAt = async (factor: number): Promise<number> => {
        const weight = projection.read()
        for (const row of rows)
          for (let c = 0; c < projection.columns; c++)
            weight[row * projection.columns + c] =
              (weight[row * projection.columns + c] as number) * factor
        const changed = loadModel(path as string).model
        edit(changed.graph, 'test', (change) => {
          const value = changed.graph.values.get(projection.weight.name)
          if (value) change.setConstant(value, toWeight(projection, weight))
        })
        return Math.log((await perplexity(changed, { ...options, batches })).value)
      }
      const difference = ((await lossAt(1 + step)) - (await lossAt(1 - step))) / (2 * step)
      expect(taylor.get(key)?.[unit]).toBeCloseTo(Math.abs(difference), 3)
      // By Jensen, the mean of squares is at least the square of the mean.
      expect(fisher.get(key)?.[unit]).toBeGreaterThanOrEqual(
        (taylor.get(key)?.[unit] ?? 0) ** 2 * 0.999,
      )
    }
  },
  60_000,
)
