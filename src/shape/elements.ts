/**
 * Small integer and boolean tensors element by element, as shape arithmetic needs them: entries are
 * sizes, some of them symbolic or unknown. Larger ones are not looked into.
 */
import type { DataType } from '../onnx/data-type.js'
import { elementCount, type Tensor, tensorFromBytes } from '../onnx/tensor.js'
import { Size } from './symbolic.js'

export interface KnownElements {
  readonly dims: readonly number[]
  /** In row-major order; undefined: not known. */
  readonly elements: readonly (Size | undefined)[]
}

const LIMIT = 4096

export const isSmall = (dims: readonly number[]): boolean => elementCount(dims) <= LIMIT

/** Elements in another arrangement: `source` says from which place of the old one each comes. */
export function rearrange(
  known: KnownElements,
  dims: readonly number[],
  source: (place: readonly number[]) => readonly number[],
): KnownElements {
  const count = elementCount(dims)
  const elements = Array.from({ length: count }, (_, at) => {
    let rest = at
    const place = dims.map(() => 0)
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const size = dims[axis] as number
      place[axis] = rest % size
      rest = Math.floor(rest / size)
    }
    const from = source(place)
    return known.elements[
      known.dims.reduce((index, size, axis) => index * size + (from[axis] as number), 0)
    ]
  })
  return { dims, elements }
}

export function readElements(tensor: Tensor): KnownElements | undefined {
  if (!isSmall(tensor.dims)) return undefined
  const numbers = readIntegers(tensor)
  return numbers && { dims: tensor.dims, elements: numbers.map((each) => Size.of(each)) }
}

/** Integers, booleans, and floats that are whole numbers (sizes pass through floats in some exports). */
function readIntegers(tensor: Tensor): number[] | undefined {
  const view = (): { buffer: ArrayBuffer } => ({ buffer: Uint8Array.from(tensor.bytes()).buffer })
  switch (tensor.dataType) {
    case 'int64':
      return Array.from(new BigInt64Array(view().buffer), Number)
    case 'uint64':
      return Array.from(new BigUint64Array(view().buffer), Number)
    case 'int32':
      return Array.from(new Int32Array(view().buffer))
    case 'uint32':
      return Array.from(new Uint32Array(view().buffer))
    case 'bool':
    case 'uint8':
      return Array.from(tensor.bytes())
    case 'int8':
      return Array.from(new Int8Array(view().buffer))
    case 'float32': {
      const floats = tensor.dims.length <= 1 ? Array.from(new Float32Array(view().buffer)) : []
      return floats.length > 0 && floats.every(Number.isFinite) ? floats : undefined
    }
    default:
      return undefined
  }
}

/** The tensor of elements that are all numbers. */
export function toTensor(known: KnownElements, type: DataType): Tensor | undefined {
  const values = known.elements.map((size) => size?.value)
  if (values.some((value) => value === undefined || !Number.isFinite(value))) return undefined
  const numbers = values as number[]
  const array =
    type === 'int64'
      ? BigInt64Array.from(numbers, (each) => BigInt(Math.trunc(each)))
      : type === 'int32'
        ? Int32Array.from(numbers)
        : type === 'float32'
          ? Float32Array.from(numbers)
          : type === 'float64'
            ? Float64Array.from(numbers)
            : type === 'bool'
              ? Uint8Array.from(numbers)
              : undefined
  return (
    array &&
    tensorFromBytes(
      type,
      known.dims,
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    )
  )
}
