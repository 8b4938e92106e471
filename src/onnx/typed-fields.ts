/** The fields of a TensorProto that hold numbers one by one, instead of bytes in a row. */
import { bitsPerElement, type DataType } from './data-type.js'
import type { TensorMessage } from './messages.js'
import { fieldNumbers } from './schema.js'

interface TypedField {
  readonly chunks: readonly Uint8Array[]
  /** Numbers of the field for one element; below 1 where one number packs several. */
  readonly perElement: number
  /** Bytes of one number once packed. */
  readonly width: number
  readonly varints: boolean
}

type FieldName = 'float_data' | 'int32_data' | 'int64_data' | 'double_data' | 'uint64_data'

/** The field that holds elements of a type when they are not raw bytes, as the specification assigns. */
export function typedField(message: TensorMessage, dataType: DataType): TypedField {
  const field = (
    name: FieldName,
    perElement: number,
    width: number,
    varints = true,
  ): TypedField => ({
    chunks: chunksOf(message, name),
    perElement,
    width,
    varints,
  })
  switch (dataType) {
    case 'float32':
      return field('float_data', 1, 4, false)
    case 'complex64':
      return field('float_data', 2, 4, false)
    case 'float64':
      return field('double_data', 1, 8, false)
    case 'complex128':
      return field('double_data', 2, 8, false)
    case 'int64':
      return field('int64_data', 1, 8)
    case 'uint64':
      return field('uint64_data', 1, 8)
    case 'uint32':
      return field('uint64_data', 1, 4)
    default: {
      // Up to 32 bits: one number an element; 2 and 4 bits: one number a packed byte.
      const bits = bitsPerElement(dataType)
      return field('int32_data', Math.min(1, bits / 8), Math.max(1, bits / 8))
    }
  }
}

/** Packed chunks, and the single elements of writers that do not pack, which the reader left aside. */
function chunksOf(message: TensorMessage, name: FieldName): readonly Uint8Array[] {
  const single = message.$unknowns
    ?.filter(
      (field) => isElement(field) && field[0] !== undefined && field[0] >> 3 === fieldNumbers[name],
    )
    .map((field) => field.subarray(1))
  return [...(message[name] ?? []), ...(single ?? [])]
}

/** Whether a field that the reader left aside is one element of a typed field. */
export const isElement = (field: Uint8Array): boolean => elementTags.has(field[0] ?? 0)

const elementTags: ReadonlySet<number> = new Set([
  fieldNumbers.float_data * 8 + 5,
  fieldNumbers.int32_data * 8,
  fieldNumbers.int64_data * 8,
  fieldNumbers.double_data * 8 + 1,
  fieldNumbers.uint64_data * 8,
])
