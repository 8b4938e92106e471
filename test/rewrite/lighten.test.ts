/** Rewrites that do less for the same results: every model of the zoo says what it said. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { portsOf } from '../../src/data/open-data.js'
import { readExpected, readTestDataSet } from '../../src/data/test-data-set.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { fuseNorms } from '../../src/rewrite/fuse-norms.js'
import { groupQueries } from '../../src/rewrite/group-queries.js'
import { lighten } from '../../src/rewrite/lighten.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { sharedModel } from '../shared-models.js'

const zoo = sharedModel('zoo')
const names = zoo ? readdirSync(zoo).filter((name) => !name.includes('.')) : []

/** The largest difference of what a changed model says, of the largest number. */
async function difference(name: string, change: (change: GraphEdit) => unknown): Promise<number> {
  const folder = join(zoo as string, name)
  const { model } = loadModel(folder)
  const data = join(folder, 'test_data_set_0')
  const [batch] = readTestDataSet(data, portsOf(model))
  const expected = readExpected(data, model.graph.outputs.length)
  const outputs = model.graph.outputs.map((output) => output.name)
  edit(model.graph, 'lighter', change)
  const file = materialise(model)
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    const results = await session.run(batch?.feeds ?? {})
    const differences = expected.map((wanted, index) => {
      if (!wanted) return 0
      const found = numbersOf(results[outputs[index] as string] as RuntimeTensor)
      const numbers = numbersOf(wanted)
      const size = Math.max(1e-6, ...Array.from(numbers, Math.abs))
      const apart = Array.from(numbers, (each, at) => Math.abs(each - (found[at] as number)))
      return Math.max(...apart) / size
    })
    return Math.max(...differences)
  } finally {
    file.dispose()
  }
}

describe.runIf(zoo)('a lighter graph', () => {
  it.each(names)('says the same, %s', async (name) => {
    expect(await difference(name, lighten)).toBeLessThan(1e-4)
  })

  // Two norms a layer and one behind the last.
  it.each([
    ['llama-ts', 5],
    ['llama-dyn', 5],
    ['qwen2-dyn', 5],
    ['mixtral-ts', 5],
    ['gpt2-ts', 0],
    ['bert-dyn', 0],
  ])('says norms as one operator each, %s', async (name, count) => {
    let found = 0
    const apart = await difference(name, (change) => {
      lighten(change)
      found = fuseNorms(change, inferShapes(change.graph))
    })
    expect(found).toBe(count)
    expect(apart).toBeLessThan(1e-4)
  })

  // Keys and values of every layer that are repeated for groups of heads.
  it.each([
    ['qwen2-ts', 4],
    ['llama-past-ts', 4],
    ['gemma2-dyn', 4],
    ['gpt2-ts', 0],
    ['bert-ts', 0],
  ])('reads shared keys and values once, %s', (name, count) => {
    const { model } = loadModel(join(zoo as string, name))
    const found = edit(model.graph, 'lighter', (change) =>
      groupQueries(change, inferShapes(model.graph)),
    )
    expect(found).toBe(count)
  })
})

// Behind a Reshape, ONNX Runtime does not make the scale a part of the product.
it('scales scores beside their product where sizes are open', () => {
  const { graph } = loadModel('examples/tiny-stories/model.onnx').model
  const { scaled, grouped } = edit(graph, 'lighter', lighten)
  expect([scaled, grouped]).toEqual([0, 8])
  const products = [...graph.nodes()].filter(
    ({ op, origin }) => op === 'MatMul' && origin === 'lighter',
  )
  const readers = products.map(({ outputs }) => [...(outputs[0]?.uses ?? [])][0]?.node.op)
  // Of each layer the scores, and what they weigh.
  expect(readers).toEqual(new Array(4).fill(['Mul', 'Reshape']).flat())
})
