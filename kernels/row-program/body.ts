/** A row program in standard operators, worked out in float32. */
import type { Value } from '../../src/graph/graph.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { type BodyBuilder, int } from '../body-builder.js'
import {
  columnsOf,
  type Operation,
  type Port,
  type Read,
  type RowProgram,
  typeOfKind,
  variesAlong,
  writtenDims,
} from './program.js'

const standard: Readonly<Partial<Record<Operation, string>>> = {
  negate: 'Neg',
  absolute: 'Abs',
  root: 'Sqrt',
  exponential: 'Exp',
  logarithm: 'Log',
  sigmoid: 'Sigmoid',
  tanh: 'Tanh',
  erf: 'Erf',
  add: 'Add',
  subtract: 'Sub',
  multiply: 'Mul',
  divide: 'Div',
  minimum: 'Min',
  maximum: 'Max',
}

/** Columns from `shift` on, and then those before. */
function turned(build: BodyBuilder, value: Value, { shift, columns }: Read): Value {
  if (shift === 0) return value
  const parts = [build.slice(value, -1, shift, columns), build.slice(value, -1, 0, shift)]
  return build.op('Concat', parts, { axis: int(-1) })
}

/** Values of `writes`, in the types of their ports. */
export function rowBody(
  build: BodyBuilder,
  program: RowProgram,
  valueAt: (port: Port) => Value,
): readonly Value[] {
  const { dims, steps, writes } = program
  const varies = variesAlong(program)
  const last = dims.length - 1
  const values: Value[] = []
  const number = (isTrue: Value): Value => build.cast(isTrue, 'float32')
  const compute = (op: Operation, of: readonly Value[]): Value => {
    const name = standard[op]
    if (name) return build.op(name, of)
    if (op === 'equal') return number(build.op('Equal', of))
    if (op === 'less') return number(build.op('Less', of))
    if (op === 'choose') {
      const [condition, a, b] = of as [Value, Value, Value]
      return build.op('Where', [
        build.op('Not', [build.op('Equal', [condition, build.float(0)])]),
        a,
        b,
      ])
    }
    const [given] = of as [Value]
    return build.reduce(op === 'sum' ? 'ReduceSum' : 'ReduceMax', spread(given, dims), last)
  }
  const spread = (value: Value, to: readonly number[]): Value =>
    build.op('Expand', [value, build.ints(to)])
  for (const step of steps) {
    if (step.op === 'read')
      values.push(turned(build, build.cast(valueAt(step.port), 'float32'), step))
    else if (step.op === 'number') values.push(build.float(step.value))
    else if (step.op === 'column')
      values.push(
        build.tensor(
          float32Tensor(
            [columnsOf(program)],
            Array.from({ length: columnsOf(program) }, (_, column) => column),
          ),
        ),
      )
    else
      values.push(
        compute(
          step.op,
          step.of.map((each) => values[each] as Value),
        ),
      )
  }
  const narrow = valueAt({ kind: 'narrow', number: 0 }).type?.dataType ?? 'float32'
  return writes.map(({ port, step }) => {
    const whole = spread(values[step] as Value, writtenDims(program, varies[step]))
    return build.cast(whole, typeOfKind(port.kind, narrow))
  })
}
