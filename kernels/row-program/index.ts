/**
 * What is worked out along rows between two products, as one pass over memory: sums, products, activations, norms,
 * softmax and their backward passes. Of a training step on a GPU they are otherwise a third of the time, each a pass
 * of its own. The program is an attribute; its kernel is compiled on the user's machine, where NVRTC is.
 */
import { stringAttribute } from '../../src/graph/graph.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { type RuntimeTensor, zeros } from '../../src/onnx/numbers.js'
import { elementCount, float32Tensor } from '../../src/onnx/tensor.js'
import { text } from '../body-builder.js'
import { type Kernel, type KernelPort, type KernelType, kernelError } from '../kernel.js'
import { rowBody } from './body.js'
import {
  NAME,
  type Port,
  parse,
  portCounts,
  portKinds,
  print,
  typeOfKind,
  variesAlong,
  writtenDims,
} from './program.js'
import { runReference } from './reference.js'

export interface RowProgramAttributes {
  readonly program: string
}

const ports = (direction: 'inputs' | 'outputs', shape: string): KernelPort[] =>
  portKinds.flatMap((kind) =>
    Array.from({ length: portCounts[kind][direction] }, (_, number) => ({
      name: direction === 'inputs' ? `${kind}_${number}` : `${kind}_result_${number}`,
      shape,
      ...(kind === 'narrow' ? {} : { type: typeOfKind(kind, 'float32') }),
      isOptional: direction === 'outputs' || kind !== 'narrow' || number > 0,
    })),
  )

const inputs = ports('inputs', '[rows or fewer, columns or 1]')
const outputs = ports('outputs', '[..., columns or 1]')
const nameOf = ({ kind, number }: Port): string => `${kind}_${number}`
const placeOf = (port: Port): number => inputs.findIndex(({ name }) => name === nameOf(port))
const resultOf = ({ kind, number }: Port): number =>
  outputs.findIndex(({ name }) => name === `${kind}_result_${number}`)

/** Where the operator's inputs and outputs lie, by port. */
export const rowPorts = {
  input: placeOf,
  output: resultOf,
  inputs: inputs.length,
  outputs: outputs.length,
}

const typeOf = (place: number, narrow: DataType = 'float32'): DataType =>
  outputs[place]?.type ?? narrow

/** What the outputs are that a program doesn't write. */
const emptyOutputs = (narrow: DataType | undefined): KernelType[] =>
  outputs.map((_, place) => ({ dataType: typeOf(place, narrow), dims: [0] }))

const at =
  <T>(given: readonly (T | undefined)[]) =>
  (port: Port): T => {
    const found = given[placeOf(port)]
    if (!found) throw kernelError('KERNEL_INPUT', NAME, `"${nameOf(port)}" is missing.`)
    return found
  }

function check(given: readonly (KernelType | undefined)[], program: string): void {
  for (const step of parse(program).steps) {
    if (step.op !== 'read') continue
    const { dataType, dims } = at(given)(step.port)
    const expected = typeOfKind(step.port.kind, given[0]?.dataType ?? 'float32')
    const count = step.count * step.columns
    if (dataType !== expected || elementCount(dims) !== count)
      throw kernelError(
        'KERNEL_INPUT',
        NAME,
        `"${nameOf(step.port)}" is ${dataType} [${dims}]; expected ${count} numbers of ${expected}.`,
      )
  }
}

export const rowProgram: Kernel<RowProgramAttributes> = {
  name: NAME,
  version: 1,
  inputs,
  outputs,
  attributes: ({ program = '' }) => ({ program: print(parse(program)) }),
  encode: ({ program }) => ({ program: text(program) }),
  decode: (node) => ({ program: stringAttribute(node, 'program') ?? '' }),
  infer(given, { program }) {
    check(given, program)
    const parsed = parse(program)
    const varies = variesAlong(parsed)
    const found = emptyOutputs(given[0]?.dataType)
    for (const { port, step } of parsed.writes)
      found[resultOf(port)] = {
        dataType: typeOfKind(port.kind, given[0]?.dataType ?? 'float32'),
        dims: writtenDims(parsed, varies[step]),
      }
    return found
  },
  reference(given, { program }) {
    check(given, program)
    const parsed = parse(program)
    const made = runReference(parsed, at(given as readonly (RuntimeTensor | undefined)[]))
    const all = emptyOutputs(given[0]?.dataType).map(({ dataType, dims }) => zeros(dataType, dims))
    for (const [index, { port }] of parsed.writes.entries())
      all[resultOf(port)] = made[index] as RuntimeTensor
    return all
  },
  body(build, given, { program }, count) {
    const parsed = parse(program)
    const made = rowBody(build, parsed, at(given))
    return Array.from({ length: count }, (_, place) => {
      const found = parsed.writes.findIndex(({ port }) => resultOf(port) === place)
      return (
        made[found] ??
        build.cast(build.tensor(float32Tensor([0], [])), typeOf(place, given[0]?.type?.dataType))
      )
    })
  },
  canRun: () => ({ ok: false, reason: 'it has a kernel for CUDA alone' }),
}
