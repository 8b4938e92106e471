/** Removing members from a constant along one of its axes, bytes that hold several members included. */
import { bitsPerElement, packedByteLength } from '../onnx/data-type.js'
import { gatherAxis } from '../onnx/gather-axis.js'
import { elementCount, lazyTensor, type Tensor } from '../onnx/tensor.js'
import { type Axis, childrenOf } from './axis.js'
import type { Removal } from './removal.js'

/** The tensor without the members that `removal` takes from its axes. */
export function removeFromTensor(tensor: Tensor, axes: readonly Axis[], removal: Removal): Tensor {
  let result = tensor
  for (const [index, axis] of axes.entries())
    if (removal.isTouched(axis)) result = removeFromAxis(result, index, axis, removal)
  return result
}

function removeFromAxis(tensor: Tensor, index: number, axis: Axis, removal: Removal): Tensor {
  const { structure } = axis.root
  if (structure?.kind === 'packed')
    return repack(tensor, index, {
      members: structure.of.size.value ?? 0,
      keep: removal.kept(structure.of) ?? [],
      perByte: structure.perByte,
    })
  if (!hasPacked(axis)) return gatherAxis(tensor, index, removal.kept(axis) ?? [])
  // A flattened [rows, bytes]: each factor as an axis of its own, then flattened again.
  const factors = structure ? childrenOf(structure) : []
  const unfolded = tensor.dims.toSpliced(index, 1, ...factors.map((each) => each.size.value ?? 1))
  const cut = factors.reduce(
    (result, factor, position) =>
      removal.isTouched(factor)
        ? removeFromAxis(result, index + position, factor, removal)
        : result,
    withDims(tensor, unfolded),
  )
  const folded = elementCount(cut.dims.slice(index, index + factors.length))
  return withDims(cut, cut.dims.toSpliced(index, factors.length, folded))
}

const hasPacked = (axis: Axis): boolean => {
  const { structure } = axis.root
  return (
    structure?.kind === 'packed' ||
    (structure?.kind === 'product' && structure.factors.some(hasPacked))
  )
}

const withDims = (tensor: Tensor, dims: readonly number[]): Tensor =>
  lazyTensor(tensor.dataType, dims, () => tensor.bytes())

interface Packing {
  /** Members before; the last byte of a run may be padded. */
  readonly members: number
  readonly keep: readonly number[]
  readonly perByte: number
}

/** Members of fewer than 8 bits, packed from the low bits on, chosen and packed again. */
function repack(tensor: Tensor, axis: number, packing: Packing): Tensor {
  const { keep, perByte } = packing
  const bits = 8 / perByte
  const mask = (1 << bits) - 1
  const bytesAfter = Math.ceil(keep.length / perByte)
  const dims = tensor.dims.with(axis, bytesAfter)
  return lazyTensor(tensor.dataType, dims, () => {
    if (bitsPerElement(tensor.dataType) !== 8)
      throw new RangeError(`packed members lie in bytes, not in ${tensor.dataType}`)
    const source = tensor.bytes()
    const outer = elementCount(tensor.dims.slice(0, axis))
    const before = tensor.dims[axis] as number
    const inner = elementCount(tensor.dims.slice(axis + 1))
    const target = new Uint8Array(packedByteLength(tensor.dataType, outer * bytesAfter * inner))
    for (let o = 0; o < outer; o++)
      for (const [position, member] of keep.entries())
        for (let i = 0; i < inner; i++) {
          const from = (o * before + Math.floor(member / perByte)) * inner + i
          const to = (o * bytesAfter + Math.floor(position / perByte)) * inner + i
          const element = ((source[from] ?? 0) >> ((member % perByte) * bits)) & mask
          target[to] = (target[to] ?? 0) | (element << ((position % perByte) * bits))
        }
    return target
  })
}
