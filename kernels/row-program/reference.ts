/** The specification of a row program, in float64. */
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import {
  columnsOf,
  type Operation,
  type Port,
  type RowProgram,
  rowsOf,
  typeOfKind,
  variesAlong,
  writtenDims,
} from './program.js'

/** Error function; Abramowitz and Stegun 7.1.26 would be off by 1e-7, a series is not. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let [term, sum] = [x, x]
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

const works: Readonly<Record<Exclude<Operation, 'sum' | 'largest'>, (...of: number[]) => number>> =
  {
    negate: (a = 0) => -a,
    absolute: Math.abs,
    root: Math.sqrt,
    exponential: Math.exp,
    logarithm: Math.log,
    sigmoid: (a = 0) => 1 / (1 + Math.exp(-a)),
    tanh: Math.tanh,
    erf: (a = 0) => erf(a),
    add: (a = 0, b = 0) => a + b,
    subtract: (a = 0, b = 0) => a - b,
    multiply: (a = 0, b = 0) => a * b,
    divide: (a = 0, b = 0) => a / b,
    minimum: Math.min,
    maximum: Math.max,
    equal: (a = 0, b = 0) => Number(a === b),
    less: (a = 0, b = 0) => Number(a < b),
    choose: (condition = 0, a = 0, b = 0) => (condition === 0 ? b : a),
  }

/** What is written, in the order of `writes`; `tensorAt` gives the tensor of a port. */
export function runReference(
  program: RowProgram,
  tensorAt: (port: Port) => RuntimeTensor,
): readonly RuntimeTensor[] {
  const { steps, writes } = program
  const [rows, columns] = [rowsOf(program), columnsOf(program)]
  const varies = variesAlong(program)
  const read = steps.map((step) =>
    step.op === 'read' ? numbersOf(tensorAt(step.port)) : undefined,
  )
  const results = writes.map(({ step }) => new Float64Array(varies[step] ? rows * columns : rows))
  for (let row = 0; row < rows; row++) {
    const line: Float64Array[] = []
    for (const [at, step] of steps.entries()) {
      const values = new Float64Array(columns)
      line.push(values)
      if (step.op === 'read') {
        const first = (Math.floor(row / step.repeats) % step.count) * step.columns
        for (let c = 0; c < columns; c++)
          values[c] = read[at]?.[first + ((c + step.shift) % step.columns)] as number
      } else if (step.op === 'number') values.fill(step.value)
      else if (step.op === 'column') for (let c = 0; c < columns; c++) values[c] = c
      else {
        const of = step.of.map((each) => line[each] as Float64Array)
        const { op } = step
        if (op === 'sum') values.fill(of[0]?.reduce((sum, each) => sum + each, 0) ?? 0)
        else if (op === 'largest') values.fill(of[0]?.reduce((a, b) => Math.max(a, b)) ?? 0)
        else
          for (let c = 0; c < columns; c++)
            values[c] = works[op](...of.map((each) => each[c] as number))
      }
    }
    for (const [at, { step }] of writes.entries())
      if (varies[step]) results[at]?.set(line[step] as Float64Array, row * columns)
      else (results[at] as Float64Array)[row] = line[step]?.[0] as number
  }
  const narrow = tensorAt({ kind: 'narrow', number: 0 }).dataType
  return writes.map(({ port, step }, at) => {
    const shape = writtenDims(program, varies[step])
    const type = typeOfKind(port.kind, narrow)
    return tensorOf(type, shape, (results[at] as Float64Array).subarray(0, elementCount(shape)))
  })
}
