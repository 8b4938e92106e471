/** Models of a few nodes that are run in turns, by attnc's sessions, with the kernels or without. */
import { edit, type GraphEdit } from '../src/graph/edit.js'
import { type Attribute, Model, type Value } from '../src/graph/graph.js'
import type { DataType } from '../src/onnx/data-type.js'
import { type RuntimeTensor, tensorOf } from '../src/onnx/numbers.js'
import { elementCount } from '../src/onnx/tensor.js'
import { materialise } from '../src/runtime/materialise.js'
import { openNativeSession } from '../src/runtime/native/session.js'
import type { Session } from '../src/runtime/session.js'

export interface Contender {
  readonly name: string
  readonly session: Session
  readonly feeds: Record<string, RuntimeTensor>
  readonly times: number[]
}

export const random = (dims: readonly number[]): RuntimeTensor =>
  tensorOf(
    'float32',
    dims,
    Float32Array.from({ length: elementCount(dims) }, () => Math.random() * 2 - 1),
  )

export const int = (value: number): Attribute => ({ kind: 'int', value: BigInt(value) })

/** A model of the nodes that `build` adds to inputs of the given sizes. */
export async function contender(
  name: string,
  threads: number,
  inputs: Readonly<Record<string, RuntimeTensor>>,
  build: (change: GraphEdit, values: Readonly<Record<string, Value>>) => readonly Value[],
  {
    types = [],
    ...options
  }: { readonly kernels?: boolean | string; readonly types?: readonly DataType[] } = {},
): Promise<Contender> {
  const model = new Model()
  model.opsets.set('', 17)
  model.opsets.set('com.microsoft', 1)
  edit(model.graph, name, (change) => {
    const values = Object.fromEntries(
      Object.entries(inputs).map(([key, { dataType, dims }]) => [
        key,
        change.addInput(key, dataType, dims),
      ]),
    )
    for (const [index, output] of build(change, values).entries()) {
      const dataType = types[index] ?? 'float32'
      change.setType(output, { dataType, dims: undefined })
      change.expose(output)
    }
  })
  const file = materialise(model)
  const session = await openNativeSession({ path: file.path, threads, ...options })
  file.dispose()
  return { name, session, feeds: { ...inputs }, times: [] }
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

/**
 * Times of all, in turns, after a round that warms up. With `cpu` those of the processor, not of the clock: for one
 * thread on a machine that others use.
 */
export async function race(
  list: readonly Contender[],
  { rounds, cpu }: { readonly rounds: number; readonly cpu: boolean },
): Promise<void> {
  for (let round = 0; round <= rounds; round++)
    for (const one of list) {
      await one.session.run(one.feeds)
      const before = process.cpuUsage()
      await one.session.run(one.feeds)
      const used = process.cpuUsage(before)
      if (round > 0) one.times.push(cpu ? (used.user + used.system) / 1000 : one.session.lastRunMs)
    }
}
