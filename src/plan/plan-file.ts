/**
 * A plan on disk: `plan.json`, which people read and write, and beside it `plan.npz` with the numbers
 * of re-fitted projections where there are any.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readArrays, writeArrays } from '../data/npz.js'
import { AttncError } from '../errors.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import type { RefittedProjection } from './apply.js'
import { type Plan, parsePlan } from './plan.js'

export interface StoredPlan {
  readonly plan: Plan
  readonly projections: readonly RefittedProjection[]
}

const numbersFile = 'plan.npz'

/** Files of a plan by name, for writing into a folder. */
export function planFiles(
  plan: Plan,
  projections: readonly RefittedProjection[],
): Record<string, string | Uint8Array> {
  if (projections.length === 0) return { 'plan.json': toJson(plan) }
  const arrays: Record<string, RuntimeTensor> = {}
  for (const { block, rows, columns, weight, basis } of projections) {
    arrays[block] = { dataType: 'float32', dims: [rows, columns], data: weight }
    if (basis)
      arrays[`${block}.basis`] = {
        dataType: 'float32',
        dims: [basis.heads, basis.size, basis.size],
        data: basis.numbers,
      }
  }
  const bytes = writeArrays(arrays)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const stated = { ...plan, projections: { file: numbersFile, sha256 } }
  return { 'plan.json': toJson(stated), [numbersFile]: bytes }
}

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
  if (stated.file !== numbersFile || !existsSync(numbers))
    throw numbersError(numbers, 'it is not there')
  const sha256 = createHash('sha256').update(readFileSync(numbers)).digest('hex')
  if (sha256 !== stated.sha256) throw numbersError(numbers, 'it was changed since')
  return { plan, projections: parseProjections(readArrays(numbers)) }
}

function parseProjections(arrays: Readonly<Record<string, RuntimeTensor>>): RefittedProjection[] {
  return Object.entries(arrays)
    .filter(([name]) => !name.endsWith('.basis'))
    .map(([block, { dims, data }]) => {
      const basis = arrays[`${block}.basis`]
      const [rows = 0, columns = 0] = dims
      return {
        block,
        rows,
        columns,
        weight: data as Float32Array,
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
      suggestions: ['Keep plan.json and plan.npz together, or remove "projections" from the plan.'],
    },
  )
