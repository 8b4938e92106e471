/**
 * A plan on disk: `plan.json`, which people read and write, and beside it `plan.npz` with the numbers
 * of re-fitted projections where there are any. A plan that is printed carries small numbers in itself.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { readArrays, writeArrays } from '../data/npz.js'
import { AttncError } from '../errors.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import type { RefittedProjection } from './apply.js'
import { type Plan, type PrintedArrays, parsePlan } from './plan.js'

export interface StoredPlan {
  readonly plan: Plan
  readonly projections: readonly RefittedProjection[]
}

/** Files of a plan by name, for writing into a folder: `plan.json`, or another name. */
export function planFiles(
  { plan, projections }: StoredPlan,
  name = 'plan',
): Record<string, string | Uint8Array> {
  if (projections.length === 0) return { [`${name}.json`]: toJson(plan) }
  const numbers = writeArrays(toArrays(projections))
  const file = `${name}.npz`
  const stated = { ...plan, projections: { file, sha256: digestOf(numbers) } }
  return { [`${name}.json`]: toJson(stated), [file]: numbers }
}

/** More numbers than this are not printed; they need a file. */
const printedLimitBytes = 32 << 20

/** A plan as one JSON object. Where its numbers are too many, `projections` names a file to be written. */
export function printablePlan({ plan, projections }: StoredPlan): Plan {
  if (projections.length === 0) return plan
  const arrays = toArrays(projections)
  const numbers = writeArrays(arrays)
  const stated = { file: 'plan.npz', sha256: digestOf(numbers) }
  if (numbers.length > printedLimitBytes) return { ...plan, projections: stated }
  const printed = Object.entries(arrays).map(([name, { dims, data }]) => {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    return [name, { dims, base64: bytes.toString('base64') }] as const
  })
  return { ...plan, projections: { ...stated, arrays: Object.fromEntries(printed) } }
}

function toArrays(projections: readonly RefittedProjection[]): Record<string, RuntimeTensor> {
  const arrays: Record<string, RuntimeTensor> = {}
  for (const { block, rows, columns, weight, basis, shift, reads } of projections) {
    arrays[block] = { dataType: 'float32', dims: [rows, columns], data: weight }
    if (basis)
      arrays[`${block}.basis`] = {
        dataType: 'float32',
        dims: [basis.heads, basis.size, basis.size],
        data: basis.numbers,
      }
    for (const { index, weight: read } of reads ?? [])
      arrays[`${block}.reads.${index}`] = { dataType: 'float32', dims: [read.length], data: read }
    if (shift) arrays[`${block}.shift`] = { dataType: 'float32', dims: [columns], data: shift }
  }
  return arrays
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** One slice a line: plans are read and compared. */
function toJson(plan: Plan): string {
  const { slices, ...rest } = plan
  const lines = slices.map((slice) => `    ${JSON.stringify(slice)}`)
  const head = JSON.stringify(rest, null, 2).slice(0, -2)
  return `${head},\n  "slices": [\n${lines.join(',\n')}\n  ]\n}\n`
}

/** Reads a plan and its numbers. Errors: PLAN_MISSING, PLAN_FORMAT, PLAN_NUMBERS. */
export function readPlan(path: string): StoredPlan {
  const file = existsSync(join(path, 'plan.json')) ? join(path, 'plan.json') : path
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    const isJson = cause instanceof SyntaxError
    throw new AttncError(
      isJson ? 'PLAN_FORMAT' : 'PLAN_MISSING',
      'usage',
      isJson ? `"${file}" is no JSON: ${cause.message}.` : `There is no plan at "${file}".`,
      { cause, suggestions: ['"attnc prune --dry-run" prints a plan.'] },
    )
  }
  const plan = parsePlan(value, file)
  const stated = plan.projections
  if (!stated) return { plan, projections: [] }
  const numbers = join(dirname(file), stated.file)
  if (stated.arrays) {
    const arrays = parsePrinted(stated.arrays)
    if (digestOf(writeArrays(arrays)) !== stated.sha256)
      throw numbersError(file, 'they were changed')
    return { plan, projections: parseProjections(arrays) }
  }
  const isBeside = basename(stated.file) === stated.file
  if (!isBeside || !existsSync(numbers)) throw numbersError(numbers, 'it is not there')
  if (digestOf(readFileSync(numbers)) !== stated.sha256)
    throw numbersError(numbers, 'it was changed')
  return { plan, projections: parseProjections(readArrays(numbers)) }
}

function parsePrinted(printed: PrintedArrays): Record<string, RuntimeTensor> {
  const arrays = Object.entries(printed).map(([name, { dims, base64 }]) => {
    const bytes = Uint8Array.from(Buffer.from(base64, 'base64'))
    const data = new Float32Array(bytes.buffer, 0, bytes.length >> 2)
    return [name, { dataType: 'float32', dims, data }] as const
  })
  return Object.fromEntries(arrays)
}

function parseProjections(arrays: Readonly<Record<string, RuntimeTensor>>): RefittedProjection[] {
  return Object.entries(arrays)
    .filter(([name]) => !/\.(basis|shift|reads\.\d+)$/.test(name))
    .map(([block, { dims, data }]) => {
      const basis = arrays[`${block}.basis`]
      const shift = arrays[`${block}.shift`]
      const [rows = 0, columns = 0] = dims
      const reads = Object.entries(arrays).flatMap(([key, { data }]) => {
        const [, index] = key.startsWith(`${block}.reads.`) ? key.split('.reads.') : []
        return index === undefined ? [] : { index: Number(index), weight: data as Float32Array }
      })
      return {
        block,
        rows,
        columns,
        weight: data as Float32Array,
        ...(reads.length > 0 ? { reads } : {}),
        ...(shift ? { shift: shift.data as Float32Array } : {}),
        ...(basis
          ? {
              basis: {
                heads: basis.dims[0] ?? 0,
                size: basis.dims[1] ?? 0,
                numbers: basis.data as Float32Array,
              },
            }
          : {}),
      }
    })
}

const numbersError = (path: string, text: string): AttncError =>
  new AttncError(
    'PLAN_NUMBERS',
    'usage',
    `The plan was made with re-fitted weights in "${path}": ${text}.`,
    {
      suggestions: [
        'Keep the .json and the .npz of a plan together; "attnc prune --plan-out FILE" writes both.',
      ],
    },
  )
