/** The gradient of a whole model's loss, compared with differences along a direction for each weight. */
import { join } from 'node:path'
import { generator } from '../../src/data/generator.js'
import { portsOf } from '../../src/data/open-data.js'
import { readExpected, readTestDataSet } from '../../src/data/test-data-set.js'
import { addGradients } from '../../src/gradients/gradients.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, TensorType, Value } from '../../src/graph/graph.js'
import { loadModel } from '../../src/model-folder/load.js'
import { toAttribute } from '../../src/node-builder/node-builder.js'
import { isFloating } from '../../src/onnx/data-type.js'
import {
  fromConstant,
  numbersOf,
  type RuntimeTensor,
  tensorOf,
  toConstant,
} from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { materialise } from '../../src/runtime/materialise.js'
import { type Feeds, openSession } from '../../src/runtime/session.js'
import { sizesOfFeeds } from '../../src/train/feeds.js'

export interface Compared {
  readonly weight: string
  readonly analytic: number
  readonly numeric: number
  /** |analytic − numeric|, relative to their sizes or to what single precision can show. */
  readonly difference: number
}

export interface Comparison {
  readonly weights: readonly Compared[]
  /** The loss after lowering, and the same of the outputs that are stored beside the model. */
  readonly losses: readonly [found: number, expected: number]
}

export interface Drawn {
  readonly seed: number
  readonly count: number
  /** All that can be is computed twice rather than kept. */
  readonly isTwice?: boolean
  /** What is done to the model first, as making its attention sparse. */
  readonly prepare?: (model: Model) => Promise<void>
}

/** Of `count` weights, drawn by `seed`, those that the loss (mean of sin of all outputs) depends on. */
export async function compareGradients(
  folder: string,
  { seed, count, isTwice = false, prepare: change }: Drawn,
): Promise<Comparison> {
  const { model } = loadModel(folder)
  await change?.(model)
  const random = generator(seed)
  const data = join(folder, 'test_data_set_0')
  const [batch] = readTestDataSet(data, portsOf(model))
  const chosen = drawWeights(model, random, count)
  const { trained, loss, gradients } = prepare(model, chosen, isTwice ? batch?.feeds : undefined)
  const weights = Object.fromEntries(
    chosen.map(({ name, constant }) => [name, constant && fromConstant(constant)]),
  ) as Record<string, RuntimeTensor>
  const file = materialise(trained)
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    const known = new Set(session.inputs.map(({ name }) => name))
    const feeds = Object.fromEntries(
      Object.entries({ ...batch?.feeds, ...weights }).filter(([name]) => known.has(name)),
    )
    const first = await session.run(feeds)
    const found: Compared[] = []
    for (const [weight, name] of gradients) {
      const tensor = weights[weight] as RuntimeTensor
      const gradient = numbersOf(first[name] as RuntimeTensor)
      const direction = drawDirection(gradient, random)
      const analytic = direction.reduce((sum, each, at) => sum + each * (gradient[at] ?? 0), 0)
      const along = async (step: number): Promise<number> => {
        const numbers = numbersOf(tensor).map((each, at) => each + step * (direction[at] ?? 0))
        const moved = { ...feeds, [weight]: tensorOf(tensor.dataType, tensor.dims, numbers) }
        const results = await session.run(moved, [loss])
        return numbersOf(results[loss] as RuntimeTensor)[0] as number
      }
      found.push(await closest(weight, analytic, norm(numbersOf(tensor)), along))
    }
    const expected = lossOf(readExpected(data, model.graph.outputs.length))
    return { weights: found, losses: [numbersOf(first[loss] as RuntimeTensor)[0] ?? 0, expected] }
  } finally {
    file.dispose()
  }
}

/** The best of three steps: single precision drowns small ones, curvature spoils large ones. */
async function closest(
  weight: string,
  analytic: number,
  size: number,
  along: (step: number) => Promise<number>,
): Promise<Compared> {
  let best: Compared | undefined
  for (const share of [0.01, 0.001, 0.0001]) {
    const step = share * (size || 1)
    const numeric = ((await along(step)) - (await along(-step))) / (2 * step)
    const visible = Math.abs(analytic) + Math.abs(numeric) + NOISE / step
    const difference = Math.abs(analytic - numeric) / visible
    if (!best || difference < best.difference) best = { weight, analytic, numeric, difference }
    if (best.difference < 0.002) break
  }
  return best as Compared
}

/** Of a loss near 1, in single precision. */
const NOISE = 2e-6

const norm = (numbers: ArrayLike<number>): number =>
  Math.sqrt(Array.from(numbers).reduce((sum, each) => sum + each * each, 0))

/** Half along the gradient, so that there is something to see, and half anywhere. */
function drawDirection(gradient: Float32Array | Float64Array, random: () => number): number[] {
  const noise = Array.from(gradient, () => random() * 2 - 1)
  const [own, other] = [norm(gradient) || 1, norm(noise) || 1]
  return noise.map((each, at) => each / other + (gradient[at] as number) / own)
}

function drawWeights(model: Model, random: () => number, count: number): Value[] {
  const all = [...model.graph.initializers()].filter(
    ({ constant, uses }) =>
      constant && isFloating(constant.dataType) && elementCount(constant.dims) > 1 && uses.size > 0,
  )
  const drawn = all.map((value) => ({ value, at: random() })).sort((a, b) => a.at - b.at)
  return drawn.slice(0, count).map(({ value }) => value)
}

function prepare(model: Model, chosen: readonly Value[], twice: Feeds | undefined) {
  const cuts = new Map(
    chosen.map((value): [Value, TensorType] => [value, value.type as TensorType]),
  )
  const outputs = model.graph.outputs.filter(({ type }) => type?.dataType?.startsWith('float'))
  const trained = extractSubgraph(model.graph, cuts, outputs)
  const found = edit(trained.graph, 'test', (change) => {
    const own = outputs.map(({ name }) => trained.graph.values.get(name) as Value)
    const loss = addLoss(change, own)
    const inputs = chosen.flatMap(({ name }) => trained.graph.values.get(name) ?? [])
    const recompute = twice && { share: 1, sizes: sizesOfFeeds(trained.graph, twice) }
    const gradients = addGradients(change, loss, inputs, { recompute })
    for (const output of [...change.graph.outputs]) change.hide(output)
    for (const value of [loss, ...gradients.values()]) change.expose(value)
    return {
      loss: loss.name,
      gradients: [...gradients].map(([weight, { name }]) => [weight.name, name] as const),
    }
  })
  return { trained, ...found }
}

function lossOf(outputs: readonly RuntimeTensor[]): number {
  const means = outputs
    .filter(({ dataType }) => isFloating(dataType))
    .map((output) => {
      const waves = Array.from(numbersOf(output), (each) => Math.sin(1.3 * each))
      return waves.reduce((sum, each) => sum + each, 0) / waves.length
    })
  return means.reduce((sum, each) => sum + each, 0)
}

/** In double precision, so that the sum adds no noise of its own. */
function addLoss(change: GraphEdit, outputs: readonly Value[]): Value {
  const factor = change.constant(toConstant(tensorOf('float64', [], [1.3])))
  const terms = outputs.map((output) => {
    const wide = change.add('Cast', [output], { attributes: { to: toAttribute(11) } })
    const wave = change.add('Sin', [change.add('Mul', [wide, factor])])
    return change.add('ReduceMean', [wave], { attributes: { keepdims: toAttribute(0) } })
  })
  return terms.length === 1 ? (terms[0] as Value) : change.add('Sum', terms)
}
