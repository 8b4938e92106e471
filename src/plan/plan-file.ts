/**
 * A plan on disk: `plan.json`, which people read and write, and beside it `plan.npz` with its numbers
 * where there are any. A plan that is printed carries small numbers in itself; one beside the model that
 * came of it has none, because they would be as many as the model's.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { readArrays, writeArrays } from '../data/npz.js'
import { AttncError } from '../errors.js'
import type { DataType } from '../onnx/data-type.js'
import { arrayTypeOf } from '../onnx/numbers.js'
import { writeWhole } from '../write-whole.js'
import type { Plan } from './plan.js'
import {
  type PlanJson,
  type PrintedArrays,
  parsePlan,
  planJson,
  type StatedNumbers,
} from './plan-json.js'
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

/** Writes a plan, its numbers beside it and first: a plan that is there has them. Error: OUTPUT_UNWRITABLE. */
export function writePlan(path: string, plan: Plan): void {
  const files = Object.entries(planFiles(plan, basename(path, extname(path))))
  for (const [file, content] of files.reverse()) writeWhole(join(dirname(path), file), content)
}

/** What goes beside a model that was made: the plan without its numbers, which are in the model. */
export function planNote(plan: Plan): Record<string, string | Uint8Array> {
  const { 'plan.json': json } = planFiles(plan)
  return { 'plan.json': json as string }
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

/** What is written one entry a line: plans are read and compared. */
const lists = new Set(['slices', 'attention', 'quantized', 'integers', 'sensitivity', 'curve'])

function toJson(plan: PlanJson): string {
  const lines: string[] = []
  const place = (line: unknown): string => `@line ${lines.push(JSON.stringify(line)) - 1}`
  const text = JSON.stringify(
    plan,
    (key, value) => (lists.has(key) && Array.isArray(value) ? value.map(place) : value),
    2,
  )
  return `${text.replace(/"@line (\d+)"/g, (_, index) => lines[Number(index)] as string)}\n`
}

/** Reads a plan and its numbers. Errors: PLAN_MISSING, PLAN_FORMAT, PLAN_NUMBERS. */
export function readPlan(path: string): Plan {
  const { file, plan, numbers } = openPlan(path)
  return numbers ? { ...plan, parts: withNumbers(plan.parts, readNumbers(file, numbers)) } : plan
}

/** Reads a plan with its numbers where they are at hand. Errors: as `readPlan`. */
export function readPlanNote(path: string): { readonly plan: Plan; readonly isWhole: boolean } {
  const { file, plan, numbers } = openPlan(path)
  const isWhole = !numbers || numbers.arrays !== undefined || existsSync(numbersFile(file, numbers))
  return { plan: isWhole ? readPlan(path) : plan, isWhole }
}

function openPlan(path: string) {
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
  const { numbers, ...plan } = parsePlan(value, file)
  return { file, plan, numbers }
}

const numbersFile = (file: string, stated: StatedNumbers): string =>
  join(dirname(file), stated.file)

function readNumbers(file: string, stated: StatedNumbers): Arrays {
  if (stated.arrays) {
    const arrays = parsePrinted(stated.arrays, file)
    if (digestOf(writeArrays(arrays)) !== stated.sha256)
      throw numbersError(file, 'they were changed')
    return arrays
  }
  const numbers = numbersFile(file, stated)
  const isBeside = basename(stated.file) === stated.file
  if (!isBeside || !existsSync(numbers)) throw numbersError(numbers, 'it is not there')
  if (digestOf(readFileSync(numbers)) !== stated.sha256)
    throw numbersError(numbers, 'it was changed')
  return readArrays(numbers)
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
        '"attnc prune --plan-out FILE" writes a plan with its numbers; keep the .json and the .npz together.',
      ],
    },
  )
