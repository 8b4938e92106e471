/**
 * What is trained: low-rank updates beside the weights of products (Hu et al. 2021), or weights
 * themselves. Either way the numbers are one vector; each weight has its parts of it, in order.
 */
import { generator } from '../../data/generator.js'
import { AttncError } from '../../errors.js'
import type { Graph } from '../../graph/graph.js'
import { fromConstant, numbersOf } from '../../onnx/numbers.js'
import { elementCount, type Tensor } from '../../onnx/tensor.js'
import { type WeightRole, weightRoles } from './weight-role.js'
import { findWeights, type Weight } from './weights.js'

export interface LoraMethod {
  readonly kind: 'lora'
  readonly rank: number
  /** Updates are scaled by alpha / rank. */
  readonly alpha: number
  /** Matrices of these roles get an update; other weights of them are trained themselves. */
  readonly targets?: readonly WeightRole[] | undefined
  /**
   * Matrices of at most so many inputs get their update inside even where it could stand beside. A
   * GPU multiplies faster than it reads: a product with the whole gradient of a narrow matrix costs
   * less than passing over all tokens again.
   */
  readonly insideUpTo?: number | undefined
}

export interface FullMethod {
  readonly kind: 'full'
  readonly targets?: readonly WeightRole[] | undefined
}

export type Method = FullMethod | LoraMethod

/**
 * `whole`: the numbers of the vector are the weight. `beside`: x·A·B is added to what the product says.
 * `inside`: A·B is added to the weight before anything reads it.
 */
export interface TrainedWeight extends Weight {
  readonly form: 'whole' | 'beside' | 'inside'
}

export interface Trainable {
  readonly method: Method
  readonly weights: readonly TrainedWeight[]
  /** Numbers of the vector. */
  readonly size: number
}

/** Roles whose matrices get low-rank updates rather than being trained themselves. */
const products: readonly WeightRole[] = ['attention', 'feedForward', 'others']

/** Error: NOTHING_TO_TRAIN. */
export function findTrainable(graph: Graph, method: Method): Trainable {
  const all = findWeights(graph)
  const wanted = method.targets ?? defaultTargets(all, method)
  const weights = all
    .filter(({ role }) => wanted.includes(role))
    .flatMap((weight) => {
      const form = formOf(weight, method)
      return form ? [{ ...weight, form }] : []
    })
  if (weights.length === 0) throw nothingToTrain(all, wanted, method)
  const size = weights.reduce((sum, weight) => sum + sizeOf(weight, method), 0)
  return { method, weights, size }
}

/** The projections of blocks, or all products of a model in which no blocks are recognised; or everything. */
function defaultTargets(all: readonly Weight[], { kind }: Method): readonly WeightRole[] {
  if (kind === 'full') return weightRoles
  const hasBlocks = all.some(({ role }) => role === 'attention' || role === 'feedForward')
  return hasBlocks ? ['attention', 'feedForward'] : products
}

function formOf({ role, matrix }: Weight, method: Method): TrainedWeight['form'] | undefined {
  if (method.kind === 'full' || !products.includes(role)) return 'whole'
  if (!matrix) return undefined
  return matrix.product && matrix.inputs > (method.insideUpTo ?? 0) ? 'beside' : 'inside'
}

function nothingToTrain(
  all: readonly Weight[],
  wanted: readonly WeightRole[],
  { kind }: Method,
): AttncError {
  const roles = new Set(all.map(({ role }) => role))
  // Convolutions, for instance.
  if (kind === 'lora' && wanted.some((role) => roles.has(role)))
    return new AttncError(
      'NOTHING_TO_TRAIN',
      'model',
      `No weight of the roles that were asked for (${wanted.join(', ')}) is a matrix that a low-rank update fits.`,
      { suggestions: ['Train all weights: --recover full.'] },
    )
  return new AttncError(
    'NOTHING_TO_TRAIN',
    'model',
    `The model has no single or half precision weight of the roles that were asked for (${wanted.join(', ')}); it has ${[...roles].join(', ') || 'none at all'}.`,
    { suggestions: ['Choose other --roles, or train it before its weights are quantised.'] },
  )
}

/**
 * Parts begin at multiples of it, so that the vector splits by rows: ONNX Runtime's CUDA kernels of Split
 * and Concat write an index of the whole axis at every run, 1.2 s for 134 million numbers in one row.
 */
export const ROW = 256

/** Rows that a part takes; what it leaves of the last one is zero and stays so. */
export const rowsOf = (dims: readonly number[]): number => Math.ceil(elementCount(dims) / ROW)

/** Tensors of the vector that belong to a weight. A pair multiplies to the weight as it is stored. */
export function partsOf(
  { form, tensor: { dims } }: TrainedWeight,
  method: Method,
): readonly (readonly number[])[] {
  if (form === 'whole' || method.kind === 'full') return [dims]
  const [rows = 0, columns = 0] = dims
  return [
    [rows, method.rank],
    [method.rank, columns],
  ]
}

const sizeOf = (weight: TrainedWeight, method: Method): number =>
  partsOf(weight, method).reduce((sum, dims) => sum + ROW * rowsOf(dims), 0)

/** The vector cut at its parts, weight by weight. */
export function cutNumbers(
  { weights, method }: Trainable,
  numbers: Float32Array,
): Float32Array[][] {
  let at = 0
  return weights.map((weight) =>
    partsOf(weight, method).map((dims) => {
      const from = at
      at += ROW * rowsOf(dims)
      return numbers.subarray(from, from + elementCount(dims))
    }),
  )
}

/** The vector before training: weights as they are; of a pair, the inputs' side drawn, the other zero. */
export function initialParameters(trainable: Trainable, seed: number): Float32Array {
  const numbers = new Float32Array(trainable.size)
  const random = generator(seed)
  for (const [index, parts] of cutNumbers(trainable, numbers).entries()) {
    const { form, tensor, matrix } = trainable.weights[index] as TrainedWeight
    if (form === 'whole' || !matrix) {
      parts[0]?.set(readNumbers(tensor))
      continue
    }
    const bound = Math.sqrt(3 / matrix.inputs)
    const drawn = parts[matrix.isTurned ? 1 : 0] as Float32Array
    for (let i = 0; i < drawn.length; i++) drawn[i] = (2 * random() - 1) * bound
  }
  return numbers
}

export function readNumbers(tensor: Tensor): Float32Array | Float64Array {
  const read = fromConstant(tensor)
  return read ? numbersOf(read) : new Float32Array()
}
