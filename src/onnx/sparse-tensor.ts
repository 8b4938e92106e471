/**
 * SparseTensorProto → Tensor: made dense when it is read, written back sparse when nobody replaced it.
 * Indices are linear ([n]) or one row of coordinates for each value ([n, rank]).
 */
import { AttncError } from '../errors.js'
import { bitsPerElement } from './data-type.js'
import type { ExternalFiles } from './external-data.js'
import type { SparseTensorMessage } from './messages.js'
import { elementCount, lazyTensor, type Tensor } from './tensor.js'
import { tensorFromMessage } from './tensor-message.js'

export function sparseTensorFromMessage(
  message: SparseTensorMessage,
  files?: ExternalFiles,
): Tensor {
  const name = message.values?.name ?? ''
  const dims = (message.dims ?? []).map(Number)
  const malformed = (what: string): AttncError =>
    new AttncError('SPARSE_TENSOR_MALFORMED', 'model', `Sparse tensor "${name}" ${what}.`, {
      suggestions: ['Export the model again, or store the tensor densely.'],
    })
  if (!message.values || !message.indices) throw malformed('has no values or no indices')
  const values = tensorFromMessage(message.values, files)
  const indices = tensorFromMessage(message.indices, files)
  const count = elementCount(values.dims)
  const rank = dims.length
  const size = elementCount(dims)
  if (!dims.every((dim) => dim >= 0) || !(size * 16 <= 2 ** 32))
    throw malformed(`has the shape [${dims}], which is more than can be made dense`)
  if (indices.dataType !== 'int64') throw malformed(`has indices of type ${indices.dataType}`)
  const perValue = indices.dims.length === 2 ? rank : 1
  if (elementCount(indices.dims) !== count * perValue)
    throw malformed(`has ${count} values, but indices of shape [${indices.dims}]`)
  const width = bitsPerElement(values.dataType) / 8
  if (!(width >= 1))
    throw malformed(`holds ${values.dataType}, which is not understood when sparse`)
  const tensor = lazyTensor(values.dataType, dims, () => {
    const target = new Uint8Array(size * width)
    const source = values.bytes()
    const bytes = indices.bytes()
    const positions = new BigInt64Array(bytes.buffer, bytes.byteOffset, count * perValue)
    for (let n = 0; n < count; n++) {
      let position = perValue === 1 ? Number(positions[n]) : 0
      if (perValue > 1)
        for (let axis = 0; axis < rank; axis++)
          position = position * (dims[axis] as number) + Number(positions[n * rank + axis])
      if (position < 0 || position >= size)
        throw malformed(`has a value at position ${position} of ${size}`)
      target.set(source.subarray(n * width, (n + 1) * width), position * width)
    }
    return target
  })
  return { ...tensor, message }
}
