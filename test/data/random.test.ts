/** Inputs drawn by chance: numbers that a model can mean something by. */
import { describe, expect, it } from 'vitest'
import { randomBatches } from '../../src/data/random.js'
import type { Port } from '../../src/runtime/session.js'

const size = { sequenceLength: 7, batchSize: 3, samples: 3, seed: 0 }
const rows: Port = { name: 'characters', dataType: 'int64', dims: ['batch', 'length'], choices: 5 }

const drawn = (port: Port): number[] => {
  const [batch] = randomBatches({ inputs: [rows, port], ...size })
  return Array.from((batch?.feeds[port.name]?.data ?? []) as ArrayLike<number | bigint>, Number)
}

describe('a whole number for each row', () => {
  it.each<[string, Partial<Port>, boolean]>([
    ['is the length of the row', {}, true],
    ['of 32 bits too', { dataType: 'int32' }, true],
    ['but a row of a table is one of its rows', { choices: 3 }, false],
    ['but another number of them is no length of rows', { dims: ['others'] }, false],
    ['but what has two axes is none', { dims: ['batch', 'others'] }, false],
  ])('%s', (_, port, isLength) => {
    const numbers = drawn({ name: 'n', dataType: 'int64', dims: ['batch'], ...port })
    expect(numbers.every((each) => each === size.sequenceLength)).toBe(isLength)
  })
})

it('samples are as many wherever their name stands', () => {
  const state: Port = { name: 'state', dataType: 'float32', dims: [2, 'batch', 4] }
  const [batch] = randomBatches({ inputs: [rows, state], ...size })
  expect(batch?.feeds['state']?.dims).toEqual([2, size.batchSize, 4])
})
