/** ONNX's own test data: `test_data_set_0/input_0.pb`, one tensor a file, in the order of the inputs. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AttncError } from '../errors.js'
import { decodeTensor } from '../onnx/codec.js'
import { fromConstant, type RuntimeTensor } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import { tensorFromMessage } from '../onnx/tensor-message.js'
import type { Port } from '../runtime/session.js'
import type { Batch } from './batch.js'
import { sliceArrays } from './slice-arrays.js'

/** Errors: TEST_DATA_INCOMPLETE, TEST_DATA_UNREADABLE, TEST_DATA_TYPE, INPUT_SHAPE. */
export function readTestDataSet(folder: string, inputs: readonly Port[]): Batch[] {
  const arrays = readTensors(folder, 'input', inputs.length)
  const named = Object.fromEntries(
    inputs.map(({ name }, index) => [name, arrays[index] as RuntimeTensor]),
  )
  const rows = named[inputs[0]?.name ?? '']?.dims[0] ?? 1
  return sliceArrays(named, inputs, { what: folder, batchSize: Math.max(rows, 1) })
}

/** What the model should say, in the order of its outputs; empty where nothing is stored. */
export const readExpected = (folder: string, outputs: number): RuntimeTensor[] =>
  existsSync(join(folder, 'output_0.pb')) ? readTensors(folder, 'output', outputs) : []

function readTensors(folder: string, kind: 'input' | 'output', count: number): RuntimeTensor[] {
  return Array.from({ length: count }, (_, index) => {
    const path = join(folder, `${kind}_${index}.pb`)
    if (!existsSync(path))
      throw new AttncError(
        'TEST_DATA_INCOMPLETE',
        'usage',
        `"${folder}" has no ${kind}_${index}.pb; the model has ${count} ${kind}s.`,
        { suggestions: ['Give the test data of this model, one file for each of its inputs.'] },
      )
    const tensor = fromConstant(readTensor(path))
    if (!tensor)
      throw new AttncError(
        'TEST_DATA_TYPE',
        'usage',
        `"${path}" has a type that sessions don't take.`,
        { suggestions: ['Give the data as an .npz with one array for each input.'] },
      )
    return tensor
  })
}

function readTensor(path: string): Tensor {
  try {
    return tensorFromMessage(decodeTensor(readFileSync(path), `"${path}"`))
  } catch (cause) {
    throw new AttncError(
      'TEST_DATA_UNREADABLE',
      'usage',
      `"${path}" can't be read as a tensor: ${(cause as Error).message}`,
      { cause, suggestions: ['Copy or make the test data again.'] },
    )
  }
}
