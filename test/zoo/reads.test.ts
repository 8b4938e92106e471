/** Through which weights blocks read the stream: each weight in one block, and none that a block writes by. */
import { existsSync, readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { findBlocks } from '../../src/model/block.js'
import { readModel } from '../../src/model/model.js'
import { findReads } from '../../src/model/reads.js'
import { loadModel } from '../../src/model-folder/load.js'

const zoo = '../shared/models/zoo'
// Exports by tracing compute sizes from the activations of earlier blocks, which is no reading.
const names = existsSync(zoo) ? readdirSync(zoo).filter((name) => name.endsWith('-ts')) : []
if (names.length === 0) process.stdout.write(`reads of blocks: skipped, ${zoo} is absent\n`)

test.skipIf(names.length === 0).each(names)('%s reads each weight in one block', (name) => {
  const view = readModel(loadModel(`${zoo}/${name}`).model.graph)
  const writing = new Set(findBlocks(view).map(({ projection }) => projection?.weight))
  const read = [...findReads(view).values()]
    .flat()
    .flatMap(({ projections }) => projections.map(({ weight }) => weight))
  expect(read.filter((weight) => writing.has(weight)).map(({ name: own }) => own)).toEqual([])
  expect(new Set(read).size).toBe(read.length)
})
