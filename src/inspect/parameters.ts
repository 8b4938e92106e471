/**
 * Counting parameters: numbers that were learned, tied ones once. Rotary frequencies, slopes and
 * caches of cosines come from positions alone and are none; scales and zero points of quantised
 * weights stand for how the weights are written and are none either.
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { firstUses, intAttribute, isResult, type Node, type Value } from '../graph/graph.js'
import { downstream } from '../model/trace.js'
import { bitsPerElement } from '../onnx/data-type.js'
import { elementCount, type Tensor } from '../onnx/tensor.js'
import {
  findAngles,
  isFormula,
  presentNumbers,
  sampleOf,
  sourceNumbers,
} from './learned-numbers.js'
import { curves, learnedIn, positionalValues } from './learned-uses.js'
import { MatrixLines } from './matrix-lines.js'
import { isOdd } from './odd-number.js'
import { withoutParts } from './tied-parts.js'

export function countParameters(analysis: AxisAnalysis): number {
  return [...learnedSizes(analysis).values()].reduce((total, size) => total + size, 0)
}

/** Constants that hold learned numbers, each with how many; of tied ones the first. */
const learnedSizes = (analysis: AxisAnalysis): Map<Value, number> =>
  withoutParts(withoutTies(findLearned(analysis)))

/** Constants that hold learned numbers, each with how many. */
export function findLearned(analysis: AxisAnalysis): [Value, number][] {
  const positional = positionalValues(analysis)
  const found: [Value, number][] = []
  for (const value of analysis.graph.values.values()) {
    const tensor = value.constant
    if (!tensor || elementCount(tensor.dims) === 0) continue
    const size = learnedElements(analysis, value, positional)
    if (size > 0) found.push([value, size])
  }
  return withoutAngles(found)
}

/** Without pairs of tables that hold the cosines and the sines of the same angles. */
function withoutAngles(found: readonly [Value, number][]): [Value, number][] {
  const byShape = new Map<string, Tensor[]>()
  for (const [{ constant }] of found) {
    if (!constant || constant.dims.length < 2) continue
    const shape = String(constant.dims)
    byShape.set(shape, [...(byShape.get(shape) ?? []), constant])
  }
  const angles = new Set([...byShape.values()].flatMap(findAngles))
  return found.filter(([{ constant }]) => constant && !angles.has(constant))
}

/** Equal numbers once, as they are or transposed: an embedding that is stored again as output head. */
function withoutTies(found: readonly [Value, number][]): Map<Value, number> {
  const kept = new Map<Value, number>()
  const byShape = new Map<string, MatrixLines[]>()
  const byNumbers = new Map<string, Tensor[]>()
  for (const [value, size] of found) {
    const tensor = value.constant as Tensor
    const { dims } = tensor
    const isPacked = tensor.dataType === 'uint8'
    if (dims.length !== 2 || isPacked) {
      // Layers that share all their weights, and tables that are looked up once for each of them; packed
      // ones have a shape for products and another for lookups.
      const shape = isPacked ? tensor.byteLength : dims
      const key = `${tensor.dataType} ${shape} ${sampleOf(tensor, 8)?.numbers}`
      const before = byNumbers.get(key) ?? []
      if (before.some((other) => areEqual(other, tensor))) continue
      byNumbers.set(key, [...before, tensor])
    }
    if (dims.length === 2 && bitsPerElement((value.constant as Tensor).dataType) >= 8) {
      const lines = new MatrixLines(value.constant as Tensor)
      const shape = String(dims.toSorted((a, b) => a - b))
      const before = byShape.get(shape) ?? []
      if (before.some((other) => other.areSame(lines))) continue
      byShape.set(shape, [...before, lines])
    }
    kept.set(value, size)
  }
  return kept
}

const areEqual = (one: Tensor, other: Tensor): boolean =>
  one === other || Buffer.compare(one.bytes(), other.bytes()) === 0

/** Elements that were learned, as the most telling of its readers sees it. */
function learnedElements(
  analysis: AxisAnalysis,
  value: Value,
  positional: ReadonlySet<Value>,
): number {
  const tensor = value.constant as Tensor
  const { length: rank } = tensor.dims
  const count = elementCount(tensor.dims)
  const size = Math.max(0, ...[...value.uses].map((use) => learnedIn(value, use, positional)))
  if (size === 0) return 0
  if (count === 1) return isLearnedScalar(value, positional) ? 1 : 0
  if (isFormula(tensor) || isLogitOffset(analysis, value) || onlyChooses(analysis, value)) return 0
  if (size !== count) return size
  if (rank === 1) return presentNumbers(tensor)
  return (rank > 2 ? sourceNumbers(tensor) : undefined) ?? size + weightNormGains(value)
}

/** A single number that isn't one of a formula, stored as weights are. */
function isLearnedScalar(value: Value, positional: ReadonlySet<Value>): boolean {
  const number = sampleOf(value.constant as Tensor)?.numbers[0]
  if (number === undefined || value.producer) return false
  const isPosition = [...value.uses].every(
    ({ node }) =>
      // Of what nobody learned the exporter would have written the result.
      !curves.has(node.op) && node.outputs.every((output) => !output || positional.has(output)),
  )
  // Half precision leaves too few digits to tell one number by.
  return !isPosition && value.constant?.dataType !== 'float16' && isOdd(number)
}

/** Biases of layers are vectors; an offset of the logits that is kept as a row [1, n] is a buffer. */
function isLogitOffset(analysis: AxisAnalysis, value: Value): boolean {
  const dims = value.constant?.dims
  if (dims?.length !== 2 || dims[0] !== 1) return false
  return [...value.uses].every(({ node, index }) => {
    const product = node.inputs[1 - index]?.producer
    return (
      node.op === 'Add' &&
      product !== undefined &&
      analysis.contractions.some((each) => each.node === product) &&
      node.outputs[0] !== undefined &&
      isResult(node.outputs[0])
    )
  })
}

/** A vector that has a say in which experts are chosen and in nothing else can't be learned. */
function onlyChooses(analysis: AxisAnalysis, value: Value): boolean {
  if (value.constant?.dims.length !== 1) return false
  const queue = [...value.uses].flatMap(({ node }) => node.outputs)
  const seen = new Set(queue)
  for (let at = 0; at < queue.length; at++) {
    const each = queue[at]
    if (!each) continue
    if (['int64', 'int32', 'bool'].includes(analysis.shapes.dataType(each) ?? '')) continue
    if (isResult(each) || at > 24) return false
    for (const { node } of each.uses)
      for (const output of node.outputs)
        if (output && !seen.has(output)) {
          seen.add(output)
          queue.push(output)
        }
  }
  return true
}

/**
 * Lengths that weight norm keeps beside the directions, one for each tap: exporters multiply the two.
 * It is what a convolution in groups along a sequence has where no other norm follows.
 */
function weightNormGains(value: Value): number {
  const [use, ...others] = firstUses(value)
  const dims = value.constant?.dims ?? []
  const [filters = 1, perGroup = 1, taps = 1] = dims
  if (others.length > 0 || use?.node.op !== 'Conv' || use.index !== 1 || dims.length !== 3) return 0
  const group = intAttribute(use.node, 'group', 1)
  if (group === 1 || perGroup === 1 || perGroup * group !== filters || taps === 1) return 0
  const near = [...downstream(use.node.outputs[0] as Value, isMover)].slice(0, 8)
  return near.some(({ node }) => node.op.includes('Norm')) ? 0 : taps
}

const isMover = (node: Node): boolean => ['Slice', 'Transpose', 'Reshape'].includes(node.op)
