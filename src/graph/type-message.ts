/**
 * TypeProto ↔ TensorType. Types that are not tensors are carried as their message.
 * A type that did not change is written as it was read, denotations included.
 */
import { dataTypeCode, findDataType } from '../onnx/data-type.js'
import {
  copyMessage,
  type DimensionMessage,
  type TypeMessage,
  type ValueInfoMessage,
} from '../onnx/messages.js'
import type { Dim, TensorType, Value } from './graph.js'

export function importType(message: TypeMessage | undefined): TensorType | undefined {
  if (!message) return undefined
  const tensor = message.tensor_type
  if (!tensor) return { dataType: undefined, dims: undefined, message }
  return {
    dataType: findDataType(tensor.elem_type ?? 0),
    dims: tensor.shape ? (tensor.shape.dim ?? []).map(importDim) : undefined,
    message,
  }
}

function importDim(message: DimensionMessage): Dim {
  if (message.dim_param) return message.dim_param
  if (!Object.hasOwn(message, 'dim_value')) return undefined
  const size = Number(message.dim_value)
  return size >= 0 && Number.isSafeInteger(size) ? size : undefined
}

/**
 * The declaration of a value; `original` itself where nothing changed.
 * A file may declare a value twice with different detail, so what counts is whether the value's type
 * is still the one it was imported with.
 */
export function exportValueInfo(
  value: Value,
  original: ValueInfoMessage | undefined,
): ValueInfoMessage {
  const declared = (value.message as ValueInfoMessage | undefined)?.type
  const isUntouched = value.type
    ? declared !== undefined &&
      value.type.message === declared &&
      sameType(value.type, importType(declared))
    : true
  if (original && isUntouched) return original
  const type = exportType(value.type, original?.type ?? declared)
  return original && original.type === type
    ? original
    : copyMessage(original, { name: value.name, type })
}

function exportType(
  type: TensorType | undefined,
  original: TypeMessage | undefined,
): TypeMessage | undefined {
  if (!type || sameType(type, importType(original))) return type ? original : undefined
  const { dataType, dims } = type
  if (!dataType) return (type.message as TypeMessage | undefined) ?? original
  const before = original?.tensor_type
  return copyMessage(original, {
    tensor_type: copyMessage(before, {
      elem_type: dataTypeCode(dataType),
      shape:
        dims &&
        copyMessage(before?.shape, {
          dim: dims.map((dim, index) => {
            const known =
              dims.length === before?.shape?.dim?.length ? before.shape.dim[index] : undefined
            return known && importDim(known) === dim ? known : exportDim(dim, known)
          }),
        }),
    }),
  })
}

const exportDim = (dim: Dim, known: DimensionMessage | undefined): DimensionMessage =>
  copyMessage(known, {
    dim_value: typeof dim === 'number' ? BigInt(dim) : undefined,
    dim_param: typeof dim === 'string' ? dim : undefined,
  })

function sameType(one: TensorType, other: TensorType | undefined): boolean {
  if (!other || one.dataType !== other.dataType) return false
  if (!one.dataType && one.message !== other.message) return false
  return (
    one.dims?.length === other.dims?.length &&
    (one.dims ?? []).every((dim, index) => dim === other.dims?.[index])
  )
}
