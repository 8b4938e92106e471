/** Through which weights blocks read the stream: each weight in one block, and none that a block writes by. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findBlocks } from '../../src/model/block.js'
import { readModel } from '../../src/model/model.js'
import { findReads } from '../../src/model/reads.js'
import { loadModel } from '../../src/model-folder/load.js'
import { sharedModel } from '../shared-models.js'

const zoo = sharedModel('zoo')
// Exports by tracing compute sizes from the activations of earlier blocks, which is no reading.
const names = zoo ? readdirSync(zoo).filter((name) => name.endsWith('-ts')) : []

describe.runIf(zoo)('blocks of the zoo', () => {
  it.each(names)('%s reads each weight in one block', (name) => {
    const view = readModel(loadModel(join(zoo as string, name)).model.graph)
    const writing = new Set(findBlocks(view).map(({ projection }) => projection?.weight))
    const read = [...findReads(view).values()]
      .flat()
      .flatMap(({ projections }) => projections.map(({ weight }) => weight))
    expect(read.filter((weight) => writing.has(weight)).map(({ name: own }) => own)).toEqual([])
    expect(new Set(read).size).toBe(read.length)
  })
})
