/** Ports and tensors as the addon has them, and as sessions say them. */
import { type DataType, dataTypeCode, findDataType } from '../../onnx/data-type.js'
import { arrayTypeOf, type RuntimeTensor } from '../../onnx/numbers.js'
import type { Port } from '../session.js'
import type { NativeOutput, NativePort, NativeTensor } from './library.js'

export const portOf = ({ name, type, dims }: NativePort): Port => ({
  name,
  dataType: findDataType(type) ?? 'float32',
  dims,
})

export const toNative = ({ dataType, dims, data }: RuntimeTensor): NativeTensor => ({
  type: dataTypeCode(dataType),
  dims,
  data,
})

export function toTensor({ type, dims, buffer = new ArrayBuffer() }: NativeOutput): RuntimeTensor {
  const dataType = findDataType(type) as DataType
  const Type = arrayTypeOf(dataType)
  if (!Type) throw new TypeError(`no array for ${dataType}`)
  return { dataType, dims, data: new Type(buffer) }
}
