/** Padding counts nothing, wherever the rows of tokens lie and whoever's tokens they are. */
import { expect, it } from 'vitest'
import { calibrate } from '../../src/calibrate/calibrate.js'
import { type Batch, makeTokenBatch } from '../../src/data/batch.js'
import { portsOf } from '../../src/data/open-data.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { findBlocks } from '../../src/model/block.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { type Builder, build } from '../axes/builder.js'

// V words, C hidden
const [V, C] = [20, 8]

const feedForward = (b: Builder, x: Value): Value =>
  b.op('Add', [x, b.linear(b.op('Relu', [b.linear(x, C, 24)]), 24, C)])

/** A feed-forward over the tokens of each input: rows laid end to end, or as they are. */
const modelOf = (inputs: readonly string[], isFlat: boolean): Model =>
  build((b) => {
    const table = b.weight(V, C)
    const sums = inputs.map((name) => {
      const ids = b.input(name, ['batch', `${name}_length`], 'int64')
      const words = b.op('Gather', [table, ids])
      const stream = feedForward(b, isFlat ? b.reshape(words, -1, C) : words)
      return b.op('ReduceSum', [isFlat ? stream : b.reshape(stream, -1, C), b.integers(0)])
    })
    return sums.length === 1 ? (sums[0] as Value) : b.op('Add', sums)
  })

async function statisticsOf(model: Model, batches: readonly Batch[]) {
  const found = await calibrate(model, { batches, moments: true, stride: 1, log: silentLog })
  return [...found.values()].map(({ tokens, prompts, absolute, moments }) => ({
    counts: [tokens, prompts],
    numbers: [...absolute, ...(moments ?? [])].map((each) => each.toPrecision(5)),
  }))
}

const rows = [
  [3, 4, 5, 6, 7],
  [8, 9],
  [10, 11, 12],
]

it.each([
  ['as they are', false],
  ['laid end to end', true],
])('rows of tokens %s', async (_, isFlat) => {
  const model = modelOf(['input_ids'], isFlat)
  expect(findBlocks(readModel(model.graph)).map(({ tokens }) => tokens?.isFlat)).toEqual([isFlat])
  const ports = portsOf(model)
  const alone = rows.map((row) => makeTokenBatch([row], ports))
  expect(await statisticsOf(model, [makeTokenBatch(rows, ports)])).toEqual(
    await statisticsOf(model, alone),
  )
})

it('a decoder has a padding of its own', async () => {
  const model = modelOf(['input_ids', 'decoder_input_ids'], false)
  // Masks that the graph doesn't read say what is padding all the same.
  const mask = { dataType: 'int64', dims: ['batch', 'decoder_input_ids_length'] } as const
  const ports = [...portsOf(model), { name: 'decoder_attention_mask', ...mask }]
  const of = (dims: [number, number], numbers: number[]) => tensorOf('int64', dims, numbers)
  const batchOf = (ids: number[][], decoder: number[][]): Batch[] => {
    const length = Math.max(...decoder.map((row) => row.length))
    const pad = (row: number[], fill: (id: number) => number) =>
      Array.from({ length }, (_, i) => (i < row.length ? fill(row[i] as number) : 0))
    const size: [number, number] = [decoder.length, length]
    const arrays = {
      input_ids: of([ids.length, ids[0]?.length ?? 0], ids.flat()),
      decoder_input_ids: of(
        size,
        decoder.flatMap((row) => pad(row, (id) => id)),
      ),
      decoder_attention_mask: of(
        size,
        decoder.flatMap((row) => pad(row, () => 1)),
      ),
    }
    return sliceArrays(arrays, ports, { what: 'test', batchSize: 8 })
  }
  const ids = rows.map((_, i) => [i + 1, i + 2])
  const padded = await statisticsOf(model, batchOf(ids, rows))
  const alone = await statisticsOf(
    model,
    rows.flatMap((row, i) => batchOf([ids[i] as number[]], [row])),
  )
  expect(padded).toEqual(alone)
  expect(padded.map(({ counts }) => counts)).toEqual([
    [6, 3],
    [10, 3],
  ])
})
