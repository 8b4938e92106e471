/**
 * Members of a value head are free in their basis: what the value projection writes is only mixed over
 * tokens and then read by the output projection, so V·T and T⁻¹·O compute the same. Found where every
 * operator between the two is linear and keeps the members together; read from the axes.
 */
import { type Axis, leavesOf } from '../axes/axis.js'
import { Removal } from '../axes/removal.js'
import { isFusedAttention } from '../axes/rules/attention.js'
import type { GraphEdit } from '../graph/edit.js'
import { firstUses, isOpened, type Node, type Value } from '../graph/graph.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import type { TransformerModel } from './model.js'
import type { LayeredAttention, ModelDimension } from './model-dimension.js'
import { readProjection } from './projection.js'

export interface ValueFrame {
  readonly dimension: ModelDimension
  /** Key-value heads, each with a basis of its own. */
  readonly heads: number
  readonly size: number
  /** Inputs of the output projection: [head][member] → one place for each query head of the group. */
  readonly inputs: Places
  /** Weights and biases that write values. */
  readonly sources: readonly Source[]
}

type Places = readonly (readonly (readonly number[])[])[]

interface Source {
  readonly value: Value
  readonly axis: number
  readonly places: Places
}

const linear = new Set(
  (
    'MatMul Gemm Add Reshape Transpose Split Slice Concat Identity Cast Squeeze Unsqueeze Expand ' +
    'Tile Gather Flatten Einsum Dropout'
  ).split(' '),
)

/** The basis of a block's values, or undefined where it is not free. */
export function findValueFrame(
  view: TransformerModel,
  block: LayeredAttention,
): ValueFrame | undefined {
  const { analysis } = view
  const leaves = block.valueHeadSizeAxis ? leavesOf(block.valueHeadSizeAxis) : []
  const [leaf] = leaves
  const dimension = view.dimensions.find((each) => each.axis === leaf)
  if (!leaf || leaves.length !== 1 || !dimension?.sliceable || dimension.granularity !== 1)
    return undefined
  const readers = analysis.contractions.filter(
    ({ node, operands }) => !node.branch?.isAgain && operands.some(({ what }) => has(what, leaf)),
  )
  const [only] = readers
  if (readers.length !== 1 || only?.node !== block.outputProjection?.node) return undefined
  for (const [value, axes] of analysis.valueAxes())
    if (axes.some((axis) => has(axis, leaf)) && value.producer && !isLinear(value.producer))
      return undefined
  const [head] = block.keyValueHeadAxes
  const projection = only && only.node.op !== 'Conv' && readProjection(only, analysis.copies)
  if (!projection) return undefined
  const inputs = placesOf(projection.inputs, leaf, head)
  const sources: Source[] = []
  for (const { value, use, axes } of analysis.constantAxes()) {
    const axis = axes.findIndex((each) => has(each, leaf))
    if (axis < 0 || value === projection.weight) continue
    const places = placesOf(axes[axis], leaf, head)
    const isOwn =
      !use && firstUses(value).length === 1 && !value.producer && !analysis.copies.has(value)
    if (!places || !isOwn || !value.constant || !isPlain(value.constant.dataType)) return undefined
    sources.push({ value, axis, places })
  }
  if (!inputs || sources.length === 0) return undefined
  return { dimension, heads: inputs.length, size: dimension.size, inputs, sources }
}

const has = (axis: Axis, leaf: Axis): boolean => leavesOf(axis).includes(leaf)
const isPlain = (type: string): boolean => ['float32', 'float16', 'float64'].includes(type)
const isLinear = (node: Node): boolean =>
  linear.has(node.op) || isFusedAttention(node) || isOpened(node)

/** Where the members of each head lie on an axis that may hold other things too. */
function placesOf(axis: Axis | undefined, leaf: Axis, head: Axis | undefined): Places | undefined {
  const heads = head?.size.value ?? 1
  const size = leaf.size.value
  const length = axis?.size.value
  if (!axis || !size || !length || (head && !has(axis, head))) return undefined
  const lost = (which: Axis, member: number): Set<number> => {
    const all = Array.from({ length: which.size.value ?? 0 }, (_, i) => i)
    const removal = new Removal(new Map([[which, all.filter((i) => i !== member)]]))
    const kept = new Set(removal.kept(axis))
    return new Set(Array.from({ length }, (_, i) => i).filter((i) => !kept.has(i)))
  }
  const ofHead = head ? Array.from({ length: heads }, (_, i) => lost(head, i)) : undefined
  const ofMember = Array.from({ length: size }, (_, i) => lost(leaf, i))
  const places = Array.from({ length: heads }, (_, h) =>
    ofMember.map((all) => [...all].filter((place) => !ofHead || ofHead[h]?.has(place))),
  )
  const count = places[0]?.[0]?.length ?? 0
  return count > 0 && places.every((each) => each.every(({ length: own }) => own === count))
    ? places
    : undefined
}

/** Writes values in new bases: `basis` is [heads, size, size], a member's new value is Σ old · T[old, new]. */
export function turnSources(change: GraphEdit, frame: ValueFrame, basis: Float64Array): void {
  for (const { value, axis, places } of frame.sources) {
    const tensor = value.constant
    const numbers = tensor && fromConstant(tensor)
    if (!tensor || !numbers) continue
    const from = numbersOf(numbers)
    const inner = elementCount(tensor.dims.slice(axis + 1))
    const length = tensor.dims[axis] as number
    const outer = elementCount(tensor.dims.slice(0, axis))
    const to = Float64Array.from(from)
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const at = (place: number): number => (o * length + place) * inner + i
        turn(from, to, at, places, basis, frame.size)
      }
    change.setConstant(value, toConstant(tensorOf(tensor.dataType, tensor.dims, to)))
  }
}

function turn(
  from: ArrayLike<number>,
  to: Float64Array,
  at: (place: number) => number,
  places: Places,
  basis: Float64Array,
  size: number,
): void {
  for (const [head, members] of places.entries()) {
    const copies = members[0]?.length ?? 0
    for (let copy = 0; copy < copies; copy++)
      for (let j = 0; j < size; j++) {
        let sum = 0
        for (let d = 0; d < size; d++)
          sum +=
            (from[at(members[d]?.[copy] as number)] as number) *
            (basis[(head * size + d) * size + j] as number)
        to[at(members[j]?.[copy] as number)] = sum
      }
  }
}
