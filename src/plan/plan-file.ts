/**
 * A plan on disk: `plan.json`, which people read and write, and beside it `plan.npz` with its numbers
 * where there are any. A plan that is printed carries small numbers in itself.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { readArrays, writeArrays } from '../data/npz.js'
import { AttncError } from '../errors.js'
import type { DataType } from '../onnx/data-type.js'
import { arrayTypeOf } from '../onnx/numbers.js'
import type { Plan } from './plan.js'
import { type PlanJson, type PrintedArrays, parsePlan, planJson } from './plan-json.js'
import { type Arrays, numbersOfParts, withNumbers } from './plan-numbers.js'

/** Files of a plan by name, for writing into a folder: `plan.json`, or another name. */
export function planFiles(plan: Plan, name = 'plan'): Record<string, string | Uint8Array> {
  const arrays = numbersOfParts(plan.parts)
  if (Object.keys(arrays).length === 0) return { [`${name}.json`]: toJson(planJson(plan)) }
  const numbers = writeArrays(arrays)
  const file = `${name}.npz`
  const stated = planJson(plan, { file, sha256: digestOf(numbers) })
  return { [`${name}.json`]: toJson(stated), [file]: numbers }
}

/** More numbers than this are not printed; they need a file. */
const printedLimitBytes = 32 << 20

/** A plan as one JSON object. Where its numbers are too many, `projections` names a file to be written. */
export function printablePlan(plan: Plan): PlanJson {
  const arrays = numbersOfParts(plan.parts)
  if (Object.keys(arrays).length === 0) return planJson(plan)
  const numbers = writeArrays(arrays)
  const stated = { file: 'plan.npz', sha256: digestOf(numbers) }
  if (numbers.length > printedLimitBytes) return planJson(plan, stated)
  const printed = Object.entries(arrays).map(([name, { dataType, dims, data }]) => {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const type = dataType === 'float32' ? {} : { dataType }
    return [name, { ...type, dims, base64: bytes.toString('base64') }] as const
  })
  return planJson(plan, { ...stated, arrays: Object.fromEntries(printed) })
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** One slice a line: plans are read and compared. */
function toJson(plan: PlanJson): string {
  const lines: string[] = []
  const place = (line: unknown): string => `@line ${lines.push(JSON.stringify(line)) - 1}`
  const text = JSON.stringify(
    plan,
    (key, value) => (key === 'slices' && Array.isArray(value) ? value.map(place) : value),
    2,
  )
  return `${text.replace(/"@line (\d+)"/g, (_, index) => lines[Number(index)] as string)}\n`
}

/** Reads a plan and its numbers. Errors: PLAN_MISSING, PLAN_FORMAT, PLAN_NUMBERS. */
export function readPlan(path: string): Plan {
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
  const { numbers: stated, ...plan } = parsePlan(value, file)
  if (!stated) return plan
  const numbers = join(dirname(file), stated.file)
  if (stated.arrays) {
    const arrays = parsePrinted(stated.arrays, file)
    if (digestOf(writeArrays(arrays)) !== stated.sha256)
      throw numbersError(file, 'they were changed')
    return { ...plan, parts: withNumbers(plan.parts, arrays) }
  }
  const isBeside = basename(stated.file) === stated.file
  if (!isBeside || !existsSync(numbers)) throw numbersError(numbers, 'it is not there')
  if (digestOf(readFileSync(numbers)) !== stated.sha256)
    throw numbersError(numbers, 'it was changed')
  return { ...plan, parts: withNumbers(plan.parts, readArrays(numbers)) }
}

function parsePrinted(printed: PrintedArrays, file: string): Arrays {
  const arrays = Object.entries(printed).map(([name, { dims, base64, dataType = 'float32' }]) => {
    const Type = arrayTypeOf(dataType as DataType)
    if (!Type) throw numbersError(file, `"${name}" is of type "${dataType}"`)
    const bytes = Uint8Array.from(Buffer.from(base64, 'base64'))
    return [name, { dataType: dataType as DataType, dims, data: new Type(bytes.buffer) }] as const
  })
  return Object.fromEntries(arrays)
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
