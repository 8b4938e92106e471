/**
 * What is trained: low-rank updates beside the weights of products (Hu et al. 2021), or those weights
 * themselves. Either way the numbers are one vector, cut into tensors at the head of the graph.
 */
import { generator } from '../data/generator.js'
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import { type Graph, intAttribute, type Node, type Value } from '../graph/graph.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import { inferShapes } from '../shape/infer.js'
import { NodeBuilder } from './node-builder.js'

export type Method =
  | { readonly kind: 'full' }
  | { readonly kind: 'lora'; readonly rank: number; readonly alpha: number }

/** A stored matrix that one product reads: [inputs, outputs], or turned. */
export interface TrainedWeight {
  readonly name: string
  readonly tensor: Tensor
  readonly inputs: number
  readonly outputs: number
  readonly isTurned: boolean
}

export interface Trainable {
  readonly method: Method
  readonly weights: readonly TrainedWeight[]
  /** Numbers that are trained. */
  readonly size: number
}

export const PARAMETERS = 'attnc.parameters'

/** Every weight of a MatMul or Gemm that no other node reads. Error: NOTHING_TO_TRAIN. */
export function findTrainable(graph: Graph, method: Method): Trainable {
  const weights = [...graph.nodes()].flatMap((node) => readWeight(node) ?? [])
  if (weights.length === 0)
    throw new AttncError(
      'NOTHING_TO_TRAIN',
      'model',
      'The model has no MatMul or Gemm with a floating weight of its own.',
      { suggestions: ['Train it before its weights are quantised or its products fused.'] },
    )
  const size = weights.reduce((sum, weight) => sum + partsOf(weight, method).reduce(addCount, 0), 0)
  return { method, weights, size }
}

const addCount = (sum: number, dims: readonly number[]): number =>
  sum + dims.reduce((product, size) => product * size, 1)

function readWeight(node: Node): TrainedWeight | undefined {
  const [data, weight] = node.inputs
  const tensor = weight?.constant
  if (node.domain !== '' || (node.op !== 'MatMul' && node.op !== 'Gemm')) return undefined
  if (!tensor || weight.producer || weight.uses.size !== 1 || data?.constant) return undefined
  if (tensor.dims.length !== 2 || !['float32', 'float16'].includes(tensor.dataType))
    return undefined
  if (intAttribute(node, 'transA', 0) === 1) return undefined
  const isTurned = node.op === 'Gemm' && intAttribute(node, 'transB', 0) === 1
  const [first = 0, second = 0] = tensor.dims
  const [inputs, outputs] = isTurned ? [second, first] : [first, second]
  return { name: weight.name, tensor, inputs, outputs, isTurned }
}

/** Tensors of the vector that belong to a weight. */
function partsOf(
  { inputs, outputs, tensor }: TrainedWeight,
  method: Method,
): readonly (readonly number[])[] {
  if (method.kind === 'full') return [tensor.dims]
  return [
    [inputs, method.rank],
    [method.rank, outputs],
  ]
}

/** The vector before training: weights as they are; of a pair, the first drawn and the second zero. */
export function initialParameters(trainable: Trainable, seed: number): Float32Array {
  const { weights, method, size } = trainable
  const numbers = new Float32Array(size)
  const random = generator(seed)
  let at = 0
  for (const weight of weights) {
    if (method.kind === 'full') {
      const own = readNumbers(weight.tensor)
      numbers.set(own, at)
      at += own.length
      continue
    }
    const bound = Math.sqrt(3 / weight.inputs)
    const first = weight.inputs * method.rank
    for (let i = 0; i < first; i++) numbers[at + i] = (2 * random() - 1) * bound
    at += first + method.rank * weight.outputs
  }
  return numbers
}

const readNumbers = (tensor: Tensor): Float32Array | Float64Array => {
  const read = fromConstant(tensor)
  return read ? numbersOf(read) : new Float32Array()
}

/** Makes the graph read its trained numbers from a new input [size], which is returned. */
export function insertTrainable(edit: GraphEdit, trainable: Trainable): Value {
  const { graph } = edit
  const order = [...graph.nodes()]
  const shapes = inferShapes(graph)
  const head = new NodeBuilder(edit, shapes, order[0])
  const vector = edit.addInput(PARAMETERS, 'float32', [trainable.size])
  const parts = cutVector(head, vector, trainable)
  for (const [index, weight] of trainable.weights.entries()) {
    const value = graph.values.get(weight.name) as Value
    const own = (parts[index] ?? []).map((part) =>
      weight.tensor.dataType === 'float32' ? part : head.cast(part, weight.tensor.dataType),
    )
    if (trainable.method.kind === 'full') {
      edit.replaceUses(value, own[0] as Value)
      continue
    }
    const [use] = value.uses
    const node = use?.node as Node
    const behind = new NodeBuilder(edit, shapes, order[order.indexOf(node) + 1])
    addLowRank(behind, node, own, trainable.method.alpha / trainable.method.rank)
  }
  return vector
}

/** y + x·A·B·scale, read wherever y was. */
function addLowRank(b: NodeBuilder, node: Node, parts: readonly Value[], scale: number): void {
  const [x, y] = [node.inputs[0], node.outputs[0] as Value]
  const low = b.op('MatMul', [x, parts[0]])
  const up = b.op('MatMul', [low, b.op('Mul', [parts[1], b.scalar(scale, y)])])
  const sum = b.op('Add', [y, up])
  b.edit.replaceUses(y, sum, (use) => use.node !== sum.producer)
}

function cutVector(b: NodeBuilder, vector: Value, trainable: Trainable): Value[][] {
  const dims = trainable.weights.map((weight) => partsOf(weight, trainable.method))
  const flat = dims.flat()
  const lengths = b.ints(...flat.map((each) => addCount(0, each)))
  const names = flat.map((_, index) => `attnc.part${index}`)
  const parts = b.outputs('Split', [vector, lengths], names, { axis: 0 })
  let at = 0
  return dims.map((own) => own.map((each) => b.op('Reshape', [parts[at++], b.ints(...each)])))
}

export interface FoldedWeight {
  readonly name: string
  readonly tensor: Tensor
}

/** The trained numbers as weights of the model: as they are, or W + A·B·scale. */
export function foldTrainable(trainable: Trainable, numbers: Float32Array): FoldedWeight[] {
  const { method, weights } = trainable
  let at = 0
  return weights.map((weight) => {
    const parts = partsOf(weight, method).map((dims) => {
      const from = at
      at += addCount(0, dims)
      return numbers.subarray(from, at)
    })
    const { dataType, dims } = weight.tensor
    const matrix =
      method.kind === 'full'
        ? (parts[0] as Float32Array)
        : addProduct(weight, parts, method.rank, method.alpha / method.rank)
    return { name: weight.name, tensor: toConstant(tensorOf(dataType, dims, matrix)) }
  })
}

function addProduct(
  { tensor, inputs, outputs, isTurned }: TrainedWeight,
  [a = new Float32Array(), b = new Float32Array()]: readonly Float32Array[],
  rank: number,
  scale: number,
): Float64Array {
  const sum = Float64Array.from(readNumbers(tensor))
  for (let i = 0; i < inputs; i++)
    for (let k = 0; k < rank; k++) {
      const factor = scale * (a[i * rank + k] as number)
      for (let j = 0; j < outputs; j++) {
        const place = isTurned ? j * inputs + i : i * outputs + j
        sum[place] = (sum[place] as number) + factor * (b[k * outputs + j] as number)
      }
    }
  return sum
}
