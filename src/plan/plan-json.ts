/**
 * A plan as JSON, without its numbers. Format 1 is a plan of one part, `slices` at the top; format 2 has
 * `parts`. `projections` names the file of the numbers, or holds them.
 */
import { AttncError } from '../errors.js'
import { isGrid } from '../quantize/grid.js'
import { isFindings } from './findings.js'
import {
  type AttentionPatterns,
  fusedOperators,
  type IntegerProduct,
  type Plan,
  type PlanPart,
  type QuantizedWeight,
  type VocabularyCut,
} from './plan.js'
import { parseRanges, printRanges } from './ranges.js'

/** Where the numbers are, the digest that they have to have, and small ones themselves. */
export interface StatedNumbers {
  readonly file: string
  readonly sha256: string
  readonly arrays?: PrintedArrays
}

/** Numbers inside of a printed plan, by name; float32 where no type is said. */
export type PrintedArrays = Readonly<
  Record<
    string,
    { readonly dims: readonly number[]; readonly base64: string; readonly dataType?: string }
  >
>

export type PlanJson = {
  readonly made?: Readonly<Record<string, unknown>>
  readonly projections?: StatedNumbers
} & (
  | ({ readonly format: 1 } & PartJson)
  | { readonly format: 2; readonly parts: readonly PartJson[] }
)

export type PartJson = Pick<
  PlanPart,
  'pass' | 'options' | 'slices' | 'attention' | 'integers' | 'lighter' | 'precision' | 'findings'
> & {
  readonly vocabulary?: { readonly size: number; readonly keep: string }
  readonly quantized?: readonly Omit<QuantizedWeight, 'codes' | 'nearest'>[]
}

/** The plan as it is written and printed. */
export function planJson({ parts, made }: Plan, projections?: StatedNumbers): PlanJson {
  const [first, ...more] = parts.map(
    ({
      pass,
      options,
      slices,
      attention,
      vocabulary,
      quantized,
      integers,
      lighter,
      precision,
      findings,
    }) => ({
      ...(pass !== undefined && { pass, options }),
      slices,
      ...(attention && { attention }),
      ...(vocabulary && {
        vocabulary: { size: vocabulary.size, keep: printRanges(vocabulary.keep) },
      }),
      ...(quantized && {
        quantized: quantized.map(({ codes: _codes, nearest: _nearest, ...stated }) => stated),
      }),
      ...(integers && { integers }),
      ...(lighter && { lighter }),
      ...(precision && { precision }),
      ...(findings && { findings }),
    }),
  )
  const numbers = projections && { projections }
  if (!first || more.length > 0)
    return { format: 2, ...(made && { made }), ...numbers, parts: first ? [first, ...more] : [] }
  const { pass, options, ...rest } = first
  const { by, ...input } = made ?? {}
  return {
    format: 1,
    ...(made && { made: { by, ...(pass !== undefined && { pass, options }), ...input } }),
    ...numbers,
    ...rest,
  }
}

/** What a model says of its plan in its metadata: what was done, not by whom. */
export const planSummary = ({ parts }: Plan): PlanJson =>
  planJson({
    parts: parts.map(({ pass: _pass, options: _options, findings: _findings, ...done }) => done),
  })

/** Checks a parsed plan; its numbers are not in it yet. Error: PLAN_FORMAT. */
export function parsePlan(
  value: unknown,
  what: string,
): Plan & { readonly numbers?: StatedNumbers } {
  const fail = (text: string): AttncError =>
    new AttncError('PLAN_FORMAT', 'usage', `"${what}" is no plan: ${text}.`, {
      suggestions: [
        'A plan is {"format": 1, "slices": [{"dimension": "layer.0.width", "remove": [3]}]}.',
      ],
    })
  const plan = value as Partial<PlanJson> | null
  if (typeof plan !== 'object' || plan === null) throw fail('it is not an object')
  if (plan.format !== 1 && plan.format !== 2)
    throw fail(
      plan.format === undefined
        ? 'it states no "format", which is 1 or 2'
        : `its format is ${JSON.stringify((value as PlanJson).format)}, 1 and 2 are understood`,
    )
  if (plan.format === 2 && !Array.isArray(plan.parts)) throw fail('it has no list "parts"')
  const { made, projections: numbers } = plan
  if (
    numbers !== undefined &&
    (typeof numbers?.file !== 'string' ||
      typeof numbers.sha256 !== 'string' ||
      !['object', 'undefined'].includes(typeof numbers.arrays))
  )
    throw fail('"projections" has to have "file" and "sha256"')
  const stated = plan.format === 2 ? (plan.parts ?? []) : [{ ...plan, ...authorOf(made) }]
  const parts = stated.map((part) => parsePart(part, fail))
  const { pass: _pass, options: _options, ...rest } = made ?? {}
  return { parts, ...(made && { made: rest }), ...(numbers && { numbers }) }
}

const authorOf = (made: Readonly<Record<string, unknown>> | undefined) =>
  typeof made?.['pass'] === 'string' ? { pass: made['pass'], options: made['options'] } : {}

function parsePart(part: Partial<PartJson>, fail: (text: string) => AttncError): PlanPart {
  const { slices, pass, options, attention, quantized, integers, lighter, precision, findings } =
    part
  const vocabulary = part.vocabulary && parseVocabulary(part.vocabulary, fail)
  if (!Array.isArray(slices)) throw fail('it has no list "slices"')
  for (const [index, slice] of slices.entries()) {
    if (typeof slice?.dimension !== 'string') throw fail(`slice ${index} names no dimension`)
    if (!Array.isArray(slice.remove) || !slice.remove.every((n: unknown) => Number.isInteger(n)))
      throw fail(`slice ${index} ("${slice.dimension}") has no list of whole numbers "remove"`)
  }
  if (attention !== undefined && !(Array.isArray(attention) && attention.every(isPatterns)))
    throw fail(
      `each of "attention" has to have "block" and a list of texts "patterns", and as "operator" ${fusedOperators.join(' or ')} if anything`,
    )
  if (quantized !== undefined && !(Array.isArray(quantized) && quantized.every(isQuantized)))
    throw fail('each of "quantized" has to have "name", "grid" and "accuracy"')
  if (integers !== undefined && !(Array.isArray(integers) && integers.every(isInteger)))
    throw fail('each of "integers" has to have "name", "low" and "high"')
  if (lighter !== undefined && lighter !== true) throw fail('"lighter" can only be true')
  if (precision !== undefined && precision !== 'float16')
    throw fail(`the precision "${precision}" is none that is understood, "float16" is`)
  if (findings !== undefined && !isFindings(findings))
    throw fail('"findings" are not as attnc writes them; a plan does without them')
  return {
    ...(pass !== undefined && { pass, options }),
    slices,
    ...(attention && { attention }),
    ...(vocabulary && { vocabulary }),
    ...(quantized && { quantized }),
    ...(integers && { integers }),
    ...(lighter && { lighter }),
    ...(precision && { precision }),
    ...(findings && { findings }),
  }
}

function parseVocabulary(
  { size, keep }: Partial<NonNullable<PartJson['vocabulary']>>,
  fail: (text: string) => AttncError,
): VocabularyCut {
  const members = typeof keep === 'string' ? parseRanges(keep) : undefined
  if (!members?.length || !Number.isInteger(size))
    throw fail('"vocabulary" has to have a whole "size" and ranges "keep", as "0-255,300"')
  return { size: size as number, keep: members }
}

const isInteger = (entry: Partial<IntegerProduct> | null): boolean =>
  typeof entry?.name === 'string' && Number.isFinite(entry.low) && Number.isFinite(entry.high)

const isQuantized = (entry: Partial<QuantizedWeight> | null): boolean =>
  typeof entry?.name === 'string' &&
  ['string', 'undefined'].includes(typeof entry.digest) &&
  isGrid(entry.grid) &&
  Number.isInteger(entry.accuracy)

const isPatterns = (entry: Partial<AttentionPatterns> | null): boolean =>
  typeof entry?.block === 'string' &&
  Array.isArray(entry.patterns) &&
  entry.patterns.length > 0 &&
  entry.patterns.every((each: unknown) => typeof each === 'string') &&
  (entry.masks === undefined || Array.isArray(entry.masks?.kept)) &&
  (entry.operator === undefined || fusedOperators.includes(entry.operator))
