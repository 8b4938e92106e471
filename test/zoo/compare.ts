/**
 * Slicing put to the proof: a graph that lost members against the dense graph in which the same
 * members are zero where they are summed, on the model's own test data and on a shorter cut of it.
 * Sessions are opened in this process: models here are small, and threads would cost more than runs.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { Axis } from '../../src/axes/axis.js'
import { maskMembers } from '../../src/axes/mask.js'
import { Removal } from '../../src/axes/removal.js'
import { sliceMembers } from '../../src/axes/slice.js'
import { edit } from '../../src/graph/edit.js'
import { exportModel } from '../../src/graph/export.js'
import type { Graph, Model } from '../../src/graph/graph.js'
import { readModel, type TransformerModel } from '../../src/model/model.js'
import type { ModelDimension } from '../../src/model/model-dimension.js'
import { loadModel } from '../../src/model-folder/load.js'
import { decodeTensor, encodeModel, toBytes } from '../../src/onnx/codec.js'
import { fromConstant, numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { tensorFromMessage } from '../../src/onnx/tensor-message.js'

/** Members that stay, by the id of the dimension. */
export type Choice = ReadonlyMap<string, readonly number[]>
export type Feeds = Readonly<Record<string, RuntimeTensor>>

/** The zoo of small models, where this project lies beside it. */
export const zooFolder = join(import.meta.dirname, '../../../shared/models/zoo')

/** Models below a folder: those with facts beside them. */
export const modelsIn = (folder: string): string[] =>
  existsSync(folder)
    ? readdirSync(folder).filter((name) => existsSync(join(folder, name, 'facts.json')))
    : []

export const bytesOf = (model: Model): Uint8Array => toBytes(encodeModel(exportModel(model)))

export function axesOf(view: TransformerModel, choice: Choice): Map<Axis, readonly number[]> {
  return new Map(
    [...choice].map(([id, keep]) => {
      const dimension = view.dimensions.find((each) => each.id === id)
      if (!dimension) throw new Error(`no dimension ${id}`)
      return [dimension.axis, keep]
    }),
  )
}

/** The model with the members cut out, or masked. */
export function rewritten(model: Model, choice: Choice, as: 'slice' | 'mask'): Model {
  const view = readModel(model.graph)
  edit(model.graph, 'test', (change) =>
    (as === 'mask' ? maskMembers : sliceMembers)(change, view.analysis, axesOf(view, choice)),
  )
  return model
}

/** Keeps a random share of the members, in runs as long as the dimension asks for. */
export function randomKeep(dimension: ModelDimension, random: () => number): number[] {
  const { size, granularity } = dimension
  const runs = Math.ceil(size / granularity)
  const share = 0.3 + 0.5 * random()
  const kept = Array.from({ length: runs }, (_, run) => run).filter(() => random() < share)
  const some = kept.length === 0 ? [Math.floor(random() * runs)] : kept
  if (some.length === runs && runs > 1) some.splice(Math.floor(random() * runs), 1)
  return some.flatMap((run) =>
    Array.from({ length: granularity }, (_, i) => run * granularity + i).filter((i) => i < size),
  )
}

export const canLose = (dimension: ModelDimension): boolean =>
  dimension.sliceable && dimension.size > dimension.granularity

/** The inputs of the first test data set. */
export function readFeeds(folder: string, graph: Graph): Feeds {
  const names = graph.inputs.filter((value) => !value.constant).map(({ name }) => name)
  return Object.fromEntries(
    names.map((name, index) => {
      const path = join(folder, 'test_data_set_0', `input_${index}.pb`)
      const tensor = fromConstant(
        tensorFromMessage(decodeTensor(readFileSync(path), path), undefined),
      )
      if (!tensor) throw new Error(`${path} has a type that sessions don't take`)
      return [name, tensor]
    }),
  )
}

/** One sample fewer and other lengths shorter by two, wherever a symbol says that they may be. */
export function shorterFeeds(graph: Graph, feeds: Feeds): Feeds | undefined {
  const sizes = new Map<string, number>()
  for (const { name, type } of graph.inputs)
    for (const [axis, dim] of (type?.dims ?? []).entries())
      if (typeof dim === 'string') sizes.set(dim, feeds[name]?.dims[axis] ?? 0)
  if (sizes.size === 0) return undefined
  const first = graph.inputs.map(({ type }) => type?.dims?.[0])
  const shorter = new Map<string, number>()
  for (const [symbol, size] of sizes)
    shorter.set(symbol, first.includes(symbol) ? Math.max(1, size - 1) : size)
  const isCut = [...shorter].filter(([symbol]) => !first.includes(symbol))
  const [longest] = isCut.toSorted(([, a], [, b]) => b - a)
  // One length alone can be shortened without knowing how lengths depend on each other.
  if (isCut.length === 1 && longest && longest[1] > 4) shorter.set(longest[0], longest[1] - 2)
  return Object.fromEntries(
    graph.inputs.flatMap(({ name, type }) => {
      const tensor = feeds[name]
      const dims = type?.dims?.map((dim, axis) =>
        typeof dim === 'string' ? (shorter.get(dim) ?? 1) : (tensor?.dims[axis] ?? 1),
      )
      return tensor && dims ? [[name, cropped(tensor, dims)]] : []
    }),
  )
}

function cropped(tensor: RuntimeTensor, dims: readonly number[]): RuntimeTensor {
  const data = tensor.data.slice(0, elementCount(dims))
  const steps = tensor.dims.map((_, axis) => elementCount(tensor.dims.slice(axis + 1)))
  for (let at = 0; at < data.length; at++) {
    let rest = at
    let from = 0
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const size = dims[axis] as number
      from += (rest % size) * (steps[axis] as number)
      rest = Math.floor(rest / size)
    }
    data[at] = tensor.data[from] as never
  }
  return { dataType: tensor.dataType, dims, data }
}

/** Runs a model on several feeds; caches are cut down to the sizes that the model declares. */
export async function runModel(
  model: Model,
  feeds: readonly Feeds[],
): Promise<Record<string, RuntimeTensor>[]> {
  const session = await InferenceSession.create(bytesOf(model), {
    graphOptimizationLevel: 'basic',
    intraOpNumThreads: 1,
    logSeverityLevel: 4,
  })
  try {
    const results: Record<string, RuntimeTensor>[] = []
    for (const feed of feeds) {
      const inputs = Object.fromEntries(
        Object.entries(feed).map(([name, tensor]) => [name, toSession(tensor)]),
      )
      const outputs = await session.run(inputs)
      results.push(
        Object.fromEntries(
          Object.entries(outputs).map(([name, { type, dims, data }]) => [
            name,
            { dataType: type, dims, data } as unknown as RuntimeTensor,
          ]),
        ),
      )
    }
    return results
  } finally {
    await session.release()
  }
}

const toSession = ({ dataType, dims, data }: RuntimeTensor): Tensor =>
  new Tensor(dataType as 'float32', data as Float32Array, dims)

/** Largest difference, relative to each output's largest number. */
export function difference(
  one: Record<string, RuntimeTensor>,
  other: Record<string, RuntimeTensor>,
): number {
  let worst = 0
  for (const [name, tensor] of Object.entries(one)) {
    const reference = other[name]
    // Caches lose members: they are checked through what is computed from them.
    if (!reference || reference.dims.join() !== tensor.dims.join()) continue
    const [a, b] = [numbersOf(tensor), numbersOf(reference)]
    let largest = 0
    let scale = 1e-6
    for (let i = 0; i < a.length; i++) {
      const [x, y] = [a[i] as number, b[i] as number]
      if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue
      if (!Number.isFinite(x - y)) return Number.POSITIVE_INFINITY
      largest = Math.max(largest, Math.abs(x - y))
      scale = Math.max(scale, Math.abs(y))
    }
    worst = Math.max(worst, largest / scale)
  }
  return worst
}

/** Feeds with the caches cut to the heads that stay. */
export function fitted(view: TransformerModel, choice: Choice, feeds: Feeds): Feeds {
  const removal = new Removal(axesOf(view, choice))
  return Object.fromEntries(
    Object.entries(feeds).map(([name, tensor]) => {
      const value = view.graph.values.get(name)
      const axes = (value && view.analysis.axes(value)) ?? []
      let result = tensor
      for (const [axis, each] of axes.entries()) {
        const kept = removal.kept(each)
        if (kept) result = chosen(result, axis, kept)
      }
      return [name, result]
    }),
  )
}

function chosen(tensor: RuntimeTensor, axis: number, kept: readonly number[]): RuntimeTensor {
  const dims = tensor.dims.with(axis, kept.length)
  const inner = elementCount(tensor.dims.slice(axis + 1))
  const size = tensor.dims[axis] as number
  const data = tensor.data.slice(0, elementCount(dims))
  for (let at = 0; at < data.length; at++) {
    const outer = Math.floor(at / (inner * kept.length))
    const member = kept[Math.floor(at / inner) % kept.length] as number
    data[at] = tensor.data[(outer * size + member) * inner + (at % inner)] as never
  }
  return { dataType: tensor.dataType, dims, data }
}

/** Largest difference between the sliced and the masked model, over the model's feeds. */
export async function compareSlice(folder: string, choice: Choice): Promise<number> {
  const load = (): Model => loadModel(folder).model
  const { graph } = load()
  const feeds = readFeeds(folder, graph)
  const other = shorterFeeds(graph, feeds)
  return compareModels(load, [feeds, ...(other ? [other] : [])], choice)
}

/** The same for a model that `load` makes anew each time. */
export async function compareModels(
  load: () => Model,
  feeds: readonly Feeds[],
  choice: Choice,
): Promise<number> {
  const dense = load()
  const view = readModel(dense.graph)
  let all = feeds
  const masked = rewritten(load(), choice, 'mask')
  const expected = await runModel(masked, all).catch(async () => {
    // Lengths may depend on each other in ways that the symbols don't say.
    all = feeds.slice(0, 1)
    return runModel(masked, all)
  })
  const sliced = rewritten(dense, choice, 'slice')
  const found = await runModel(
    sliced,
    all.map((each) => fitted(view, choice, each)),
  )
  return Math.max(...found.map((each, index) => difference(each, expected[index] ?? {})))
}
