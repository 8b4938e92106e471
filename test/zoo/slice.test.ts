/**
 * The laws of slicing on every model of the zoo: sliced equals masked, keeping everything is the
 * identity, slices compose, parameters fall as announced, what can't be sliced stays. By default all
 * dimensions together and a sample one by one; ATTNC_FULL=1 tries every dimension.
 */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isWeight } from '../../src/axes/dimension.js'
import type { Model } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { elementCount } from '../../src/onnx/tensor.js'
import {
  bytesOf,
  type Choice,
  canLose,
  compareSlice,
  modelsIn,
  randomKeep,
  rewritten,
  zooFolder,
} from './compare.js'

const models = modelsIn(zooFolder)
const isFull = process.env['ATTNC_FULL'] === '1'
/** Ranges of quantised activations are measured anew, so roundings differ. */
const bounds = { plain: 1e-5, quantised: 2e-2 }

/** The same numbers in every run, for a seed. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return state / 0x7fffffff
  }
}

const open = (name: string): Model => loadModel(join(zooFolder, name)).model

const isQuantised = (model: Model): boolean =>
  [...model.graph.nodes()].some(({ op }) => /Quantize|MatMulInteger|NBits/.test(op))

const weightElements = (model: Model): number =>
  [...model.graph.values.values()]
    .filter(isWeight)
    .reduce((sum, { constant }) => sum + elementCount(constant?.dims ?? []), 0)

const title = `slicing the zoo (skipped where ${zooFolder} is absent)`

describe.skipIf(models.length === 0)(title, { timeout: 300_000 }, () => {
  it.each(models)(
    '%s without random members of all dimensions is the masked model',
    async (name) => {
      const model = open(name)
      const random = randomNumbers(models.indexOf(name) + 1)
      const able = readModel(model.graph).dimensions.filter(canLose)
      const choice = new Map(able.map((each) => [each.id, randomKeep(each, random)]))
      const bound = isQuantised(model) ? bounds.quantised : bounds.plain
      expect(await compareSlice(join(zooFolder, name), choice)).toBeLessThanOrEqual(bound)
    },
  )

  const sample = isFull ? models : models.filter((_, index) => index % 17 === 3)
  it.each(sample)(
    '%s without random members of one dimension is the masked model',
    async (name) => {
      const model = open(name)
      const random = randomNumbers(models.indexOf(name) + 1000)
      const bound = isQuantised(model) ? bounds.quantised : bounds.plain
      for (const dimension of readModel(model.graph).dimensions.filter(canLose)) {
        const choice: Choice = new Map([[dimension.id, randomKeep(dimension, random)]])
        const difference = await compareSlice(join(zooFolder, name), choice)
        expect(difference, dimension.id).toBeLessThanOrEqual(bound)
      }
    },
  )

  it.each(models.filter((_, index) => isFull || index % 4 === 1))(
    '%s of a smaller hidden width is the masked model with norms over what stays',
    async (name) => {
      const model = open(name)
      const random = randomNumbers(models.indexOf(name) + 2000)
      const able = readModel(model.graph).dimensions.filter(({ isNormed }) => isNormed)
      const choice = new Map(able.map((each) => [each.id, randomKeep(each, random)]))
      const bound = isQuantised(model) ? bounds.quantised : bounds.plain
      if (able.length > 0)
        expect(await compareSlice(join(zooFolder, name), choice)).toBeLessThanOrEqual(bound)
    },
  )

  it.each(models)('%s keeps its bytes when everything is kept', (name) => {
    const before = bytesOf(open(name))
    const model = open(name)
    const all = readModel(model.graph).dimensions.map(
      ({ id, size }) => [id, Array.from({ length: size }, (_, i) => i)] as const,
    )
    expect(Buffer.compare(bytesOf(rewritten(model, new Map(all), 'slice')), before)).toBe(0)
  })

  it.each(models.filter((_, index) => isFull || index % 5 === 2))(
    '%s sliced twice is the model sliced once, and smaller by what was announced',
    (name) => {
      const dimensions = readModel(open(name).graph).dimensions.filter(canLose)
      for (const { id, size, granularity, parametersPerMember } of dimensions) {
        const from = (run: number): number[] =>
          Array.from({ length: size }, (_, i) => i).filter((i) => i >= run * granularity)
        const once = rewritten(open(name), new Map([[id, from(1)]]), 'slice')
        const announced = parametersPerMember * granularity
        if (size % granularity === 0 && !isQuantised(once))
          expect(weightElements(open(name)) - weightElements(once), id).toBe(announced)
        if (size < 3 * granularity) continue
        const second = Array.from({ length: size - granularity }, (_, i) => i).slice(granularity)
        const twice = rewritten(once, new Map([[id, second]]), 'slice')
        const direct = rewritten(open(name), new Map([[id, from(2)]]), 'slice')
        expect(weightElements(twice), id).toBe(weightElements(direct))
      }
    },
  )
})
