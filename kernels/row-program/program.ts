/**
 * A row program: what is worked out element by element along rows, and sums along them, as a list of steps that
 * each read earlier ones. The language is small, and a text of it is checked to its last number: device code is
 * made of it, and it may come from a file.
 *
 *   dims 8 1024 576;read narrow 0 8192 1 576 0;number 0.5;multiply 0 1;sum 2;write narrow 0 2;write wide 0 3
 */
import type { DataType } from '../../src/onnx/data-type.js'
import { kernelError } from '../kernel.js'

export const NAME = 'RowProgram'

/** Ports by what they hold: the operator's element type, float32, int64, and bool. */
export const portCounts = {
  narrow: { inputs: 12, outputs: 6 },
  wide: { inputs: 8, outputs: 4 },
  index: { inputs: 2, outputs: 0 },
  truth: { inputs: 2, outputs: 0 },
} as const
export type PortKind = keyof typeof portCounts
export const portKinds = Object.keys(portCounts) as PortKind[]

export interface Port {
  readonly kind: PortKind
  readonly number: number
}

/** How many operands each takes. */
export const operations = {
  negate: 1,
  absolute: 1,
  root: 1,
  exponential: 1,
  logarithm: 1,
  sigmoid: 1,
  tanh: 1,
  erf: 1,
  add: 2,
  subtract: 2,
  multiply: 2,
  divide: 2,
  minimum: 2,
  maximum: 2,
  /** 1 where two numbers are equal, where one is less than the other; else 0. */
  equal: 2,
  less: 2,
  /** The second where the first is not 0, else the third. */
  choose: 3,
  /** Along the row. */
  sum: 1,
  largest: 1,
} as const
export type Operation = keyof typeof operations

/**
 * Of a tensor [count, columns], row ⌊r / repeats⌋ mod count for row r; `columns` is 1 or that of the program. In
 * column c stands what the tensor has in column (c + shift) mod columns.
 */
export interface Read {
  readonly op: 'read'
  readonly port: Port
  readonly count: number
  readonly repeats: number
  readonly columns: number
  readonly shift: number
}

export type Step =
  | Read
  | { readonly op: 'number'; readonly value: number }
  /** The number of the column, from 0. */
  | { readonly op: 'column' }
  | { readonly op: Operation; readonly of: readonly number[] }

export interface RowProgram {
  /** [..., columns] of what all rows are. */
  readonly dims: readonly number[]
  readonly steps: readonly Step[]
  /** What is written, and where: [..., columns], or [..., 1] of a step that is the same all along the row. */
  readonly writes: readonly { readonly port: Port; readonly step: number }[]
}

export const columnsOf = ({ dims }: RowProgram): number => dims.at(-1) ?? 1
export const rowsOf = ({ dims }: RowProgram): number =>
  dims.slice(0, -1).reduce((product, size) => product * size, 1)

export const isReduction = (op: Step['op']): boolean => op === 'sum' || op === 'largest'

/** Which steps differ along a row. */
export function variesAlong({ steps, dims }: RowProgram): readonly boolean[] {
  const columns = dims.at(-1) ?? 1
  const varies: boolean[] = []
  for (const step of steps)
    varies.push(
      step.op === 'read'
        ? step.columns > 1 || columns === 1
        : step.op === 'column' ||
            ('of' in step && !isReduction(step.op) && step.of.some((each) => varies[each])),
    )
  return varies
}

/** Of what a step is written as: one number where it is the same all along the row. */
export const writtenDims = (
  { dims }: RowProgram,
  varies: boolean | undefined,
): readonly number[] => (varies ? dims : [...dims.slice(0, -1), 1])

/** What a port holds, beside the operator's element type. */
export const typeOfKind = (kind: PortKind, narrow: DataType): DataType =>
  (({ narrow, wide: 'float32', index: 'int64', truth: 'bool' }) as const)[kind]

export const print = ({ dims, steps, writes }: RowProgram): string =>
  [
    `dims ${dims.join(' ')}`,
    ...steps.map((step) => {
      if (step.op === 'read')
        return `read ${step.port.kind} ${step.port.number} ${step.count} ${step.repeats} ${step.columns} ${step.shift}`
      if (step.op === 'number') return `number ${step.value}`
      return step.op === 'column' ? 'column' : `${step.op} ${step.of.join(' ')}`
    }),
    ...writes.map(({ port, step }) => `write ${port.kind} ${port.number} ${step}`),
  ].join(';')

/** Error: KERNEL_ATTRIBUTE, by the line that can't be. */
export function parse(text: string): RowProgram {
  const dims: number[] = []
  const steps: Step[] = []
  const writes: { port: Port; step: number }[] = []
  for (const [at, line] of text.split(';').entries()) {
    const refuse = (expected: string): never => {
      throw kernelError(
        'KERNEL_ATTRIBUTE',
        NAME,
        `line ${at + 1} of the program is "${line.slice(0, 80)}"; expected ${expected}.`,
      )
    }
    const [op = '', ...words] = line.split(' ')
    const whole = (word: string | undefined, least: number, most: number): number =>
      /^\d{1,15}$/.test(word ?? '') && Number(word) >= least && Number(word) <= most
        ? Number(word)
        : refuse(`a whole number from ${least} to ${most} in place of "${word}"`)
    const port = (direction: 'inputs' | 'outputs'): Port => {
      const kind = portKinds.find((each) => each === words[0]) ?? refuse(`a port: ${portKinds}`)
      const count = portCounts[kind][direction]
      return { kind, number: whole(words[1], 0, count - 1) }
    }
    const count = (expected: number): void => {
      if (words.length !== expected) refuse(`${expected} words after "${op}"`)
    }
    const earlier = (word: string | undefined): number => whole(word, 0, steps.length - 1)
    if (at === 0) {
      if (op !== 'dims' || words.length === 0) refuse('"dims" and sizes')
      dims.push(...words.map((word) => whole(word, 1, 2 ** 31 - 1)))
    } else if (op === 'read') {
      count(6)
      const columns = whole(words[4], 1, dims.at(-1) as number)
      if (columns !== 1 && columns !== dims.at(-1)) refuse(`1 or ${dims.at(-1)} columns`)
      const [times, repeats] = [words[2], words[3]].map((word) => whole(word, 1, 2 ** 31 - 1))
      const shift = whole(words[5], 0, columns - 1)
      steps.push({
        op,
        port: port('inputs'),
        count: times as number,
        repeats: repeats as number,
        columns,
        shift,
      })
    } else if (op === 'number') {
      count(1)
      const value = Number(words[0])
      if (!words[0] || Number.isNaN(value)) refuse('a number')
      steps.push({ op, value })
    } else if (op === 'column') {
      count(0)
      steps.push({ op })
    } else if (op === 'write') {
      count(3)
      writes.push({ port: port('outputs'), step: earlier(words[2]) })
    } else {
      if (!Object.hasOwn(operations, op)) refuse('an operation of the language')
      count(operations[op as Operation])
      steps.push({ op: op as Operation, of: words.map(earlier) })
    }
  }
  return { dims, steps, writes }
}
