/** Row programs of all operations and all ways in which threads share rows, with their inputs. */
import { rowPorts, rowProgram } from '../../kernels/row-program/index.js'
import { columnsOf, operations, parse, portCounts } from '../../kernels/row-program/program.js'
import { generator } from '../../src/data/generator.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { largestDifference } from './largest-difference.js'
import type { OneNode } from './one-node.js'

export interface RowCase {
  readonly title: string
  readonly program: string
  readonly dataType: DataType
}

/** Where each operation's operands stand in `everyOperation`; 0 and 1 else. */
const operands: Readonly<Record<string, readonly number[]>> = {
  root: [4],
  logarithm: [4],
  divide: [0, 4],
  choose: [5, 0, 1],
}

/**
 * Each operation of numbers in (−2, 2), or in [0.5, 2.5) where others have no result; as many of
 * them as there are ports.
 */
function everyOperation(columns: number): string[] {
  const shared = [
    `dims 3 5 ${columns}`,
    `read narrow 0 15 1 ${columns} 0`,
    `read narrow 1 5 1 ${columns} 0`,
    'number 0.5',
    'absolute 0',
    'add 3 2',
    'less 0 1',
  ]
  const names = Object.entries(operations)
  const { outputs } = portCounts.narrow
  return Array.from({ length: Math.ceil(names.length / outputs) }, (_, part) => {
    const own = names.slice(part * outputs, (part + 1) * outputs)
    const steps = own.map(([op, count]) =>
      [op, ...(operands[op] ?? [0, 1]).slice(0, count)].join(' '),
    )
    const writes = own.map((_, at) => `write narrow ${at} ${shared.length - 1 + at}`)
    return [...shared, ...steps, ...writes].join(';')
  })
}

const norm = (columns: number): string =>
  [
    `dims 2 7 ${columns}`,
    `read narrow 0 14 1 ${columns} 0`,
    'multiply 0 0',
    'sum 1',
    `number ${columns}`,
    'divide 2 3',
    'number 0.00001',
    'add 4 5',
    'root 6',
    'divide 0 7',
    `read narrow 1 1 1 ${columns} 0`,
    'multiply 8 9',
    'write narrow 0 10;write wide 0 7',
  ].join(';')

/** −log softmax at an index, and its gradient. */
const crossEntropy = (columns: number): string =>
  [
    `dims 6 ${columns}`,
    `read narrow 0 6 1 ${columns} 0`,
    'largest 0',
    'subtract 0 1',
    'exponential 2',
    'sum 3',
    'divide 3 4',
    'read index 0 6 1 1 0',
    'column',
    'equal 7 6',
    'number 0',
    'choose 8 2 9',
    'sum 10',
    'logarithm 4',
    'subtract 12 11',
    'subtract 5 8',
    'write narrow 0 14;write wide 0 13',
  ].join(';')

const gate = (columns: number): string =>
  [
    `dims 2 2 ${columns}`,
    `read narrow 0 4 1 ${columns} 0`,
    `read wide 0 2 2 ${columns} 0`,
    'sigmoid 0',
    'multiply 0 2',
    'multiply 3 1',
    'write wide 1 4',
  ].join(';')

/** Halves that change places, a row of the second input for each of 6, truths for each element. */
const turned = (columns: number): string =>
  [
    `dims 2 3 4 ${columns}`,
    `read narrow 0 24 1 ${columns} ${columns / 2}`,
    `read narrow 1 4 1 ${columns} 0`,
    'read narrow 2 6 4 1 0',
    `read truth 0 24 1 ${columns} 0`,
    'multiply 0 1',
    'choose 3 4 2',
    'write narrow 1 5',
  ].join(';')

const widths = [1, 3, 8, 64, 96, 576, 5000, 20000]

export const rowCases: readonly RowCase[] = (['float32', 'float16'] as const).flatMap((dataType) =>
  [
    ...[3, 64, 600].flatMap((columns) =>
      everyOperation(columns).map((program, part) => ({
        title: `operations ${part + 1}, ${columns} columns`,
        program,
      })),
    ),
    ...widths.map((columns) => ({ title: `norm of ${columns}`, program: norm(columns) })),
    ...[3, 64, 5000, 20000].map((columns) => ({
      title: `cross entropy of ${columns}`,
      program: crossEntropy(columns),
    })),
    ...[64, 20000].map((columns) => ({ title: `gate of ${columns}`, program: gate(columns) })),
    ...[2, 6, 64].map((columns) => ({
      title: `turned rows of ${columns}`,
      program: turned(columns),
    })),
  ].map((each) => ({ ...each, title: `${each.title}, ${dataType}`, dataType })),
)

/** Sums of rows grow with their length; half precision holds 11 bits. */
const tolerances: Readonly<Record<string, number>> = { float32: 2e-5, float16: 4e-3 }

/** The largest difference from what is expected, as a share of what is allowed. */
export function shareOfTolerance(
  { dataType }: RowCase,
  results: readonly RuntimeTensor[],
  expected: readonly RuntimeTensor[],
): number {
  const shares = results.map((result, at) => {
    const numbers = numbersOf(expected[at] as RuntimeTensor)
    const scale = Array.from(numbers).reduce((most, each) => Math.max(most, Math.abs(each)), 1)
    const difference = largestDifference(numbersOf(result), numbers)
    return difference / (scale * (tolerances[dataType] as number))
  })
  return Math.max(...shares)
}

export function rowNode({ program, dataType }: RowCase): OneNode<{ program: string }> {
  const random = generator(7)
  const parsed = parse(program)
  const inputs: (RuntimeTensor | undefined)[] = new Array(rowPorts.inputs).fill(undefined)
  for (const step of parsed.steps) {
    if (step.op !== 'read') continue
    const place = rowPorts.input(step.port)
    const count = step.count * step.columns
    const { kind } = step.port
    const draw = {
      index: () => Math.floor(random() * columnsOf(parsed)),
      truth: () => Number(random() < 0.5),
      wide: () => 4 * random() - 2,
      narrow: () => 4 * random() - 2,
    }[kind]
    const type = ({ index: 'int64', truth: 'bool', wide: 'float32', narrow: dataType } as const)[
      kind
    ]
    inputs[place] ??= tensorOf(
      type,
      shapeOf(step, parsed.dims),
      Array.from({ length: count }, draw),
    )
  }
  const last = Math.max(...parsed.writes.map(({ port }) => rowPorts.output(port)))
  return { kernel: rowProgram, inputs, attributes: { program }, outputs: last + 1, opset: 21 }
}

/** The sizes of whole rows that a read of so many repeats and counts has. */
function shapeOf(
  { count, repeats, columns }: { count: number; repeats: number; columns: number },
  dims: readonly number[],
): number[] {
  const shape = [columns]
  let [behind, own] = [1, 1]
  for (const size of dims.slice(0, -1).toReversed()) {
    const isBehind = behind < repeats
    const isOwn = !isBehind && own < count
    if (isBehind) behind *= size
    else if (isOwn) own *= size
    shape.unshift(isOwn ? size : 1)
  }
  return shape
}
