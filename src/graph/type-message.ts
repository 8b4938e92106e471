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

/** The declaration of a value; the one it was read from where nothing changed. */
export function exportValueInfo(value: Value): ValueInfoMessage {
  const original = value.message as ValueInfoMessage | undefined
  const type = exportType(value.type, original?.type)
  const isSame = original && (original.name ?? '') === value.name && original.type === type
  return isSame ? original : copyMessage(original, { name: value.name, type })
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
