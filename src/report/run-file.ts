/**
 * What other commands said with `--json`, read back for a report: told apart by what is in it, and held
 * against the shapes that the page relies on, because files come from anywhere and may be cut off.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { BenchResult } from '../bench/bench.js'
import { AttncError } from '../errors.js'
import { metricNames } from '../evaluate/metric-name.js'
import { isTraining, type Training } from '../plan/findings.js'
import type { NumericCheck } from '../prune/check.js'
import type { Totals } from '../prune/report.js'
import type { Sweep } from '../prune/sweep.js'
import type { ConditionEntry, Provenance, Quality, TargetEntry } from './report-data.js'

/** What is used of the JSON of `prune` and `apply`. */
export interface PruneRun {
  readonly before: Totals
  readonly after: Totals
  readonly provider: string | undefined
  readonly data: string | undefined
  readonly eval: string | undefined
  readonly check: NumericCheck | null
  readonly quality: readonly Quality[]
  readonly targets: readonly TargetEntry[]
  readonly conditions: readonly ConditionEntry[]
  readonly skipped: Provenance['skipped']
}

export type RunFile =
  | { readonly kind: 'prune'; readonly run: PruneRun }
  | { readonly kind: 'train'; readonly run: Training }
  | { readonly kind: 'bench'; readonly run: BenchResult }
  | { readonly kind: 'sweep'; readonly run: Sweep }

type Unknown = Readonly<Record<string, unknown>>

/** A file, or the folder of a sweep. Errors: RUN_MISSING, RUN_FORMAT. */
export function readRunFile(path: string): RunFile {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  const file = isFolder ? join(path, 'sweep.json') : path
  if (!existsSync(file))
    throw new AttncError('RUN_MISSING', 'usage', `There is no file "${file}".`, {
      suggestions: ['Write one: attnc prune … --json > prune.json'],
    })
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw formatError(file, `is no whole JSON: ${(cause as Error).message}`, cause)
  }
  return parseRun(value, file)
}

/** Error: RUN_FORMAT. */
export function parseRun(value: unknown, what: string): RunFile {
  if (!isObject(value)) throw formatError(what, 'holds no object')
  if (isObject(value['error']) && value['before'] === undefined)
    throw formatError(what, `is of a run that failed: ${String(value['error']['message'])}`)
  if (Array.isArray(value['points'])) {
    if (isSweep(value)) return { kind: 'sweep', run: value as unknown as Sweep }
    throw formatError(what, 'is a damaged sweep')
  }
  if (Array.isArray(value['models']) && isObject(value['shape'])) {
    if (isBench(value)) return { kind: 'bench', run: value as unknown as BenchResult }
    throw formatError(what, 'is not what "attnc bench" says of two models')
  }
  if (isTraining(value)) return { kind: 'train', run: value }
  if (isTotals(value['before']) && isTotals(value['after']))
    return { kind: 'prune', run: readPrune(value, value['before'], value['after']) }
  throw formatError(what, 'is nothing that a report knows')
}

const formatError = (what: string, text: string, cause?: unknown): AttncError =>
  new AttncError('RUN_FORMAT', 'usage', `"${what}" ${text}.`, {
    cause,
    suggestions: ['Give what prune, apply, train, bench or sweep printed with --json, whole.'],
  })

function readPrune(value: Unknown, before: Totals, after: Totals): PruneRun {
  const text = (name: string): string | undefined =>
    typeof value[name] === 'string' ? value[name] : undefined
  // Where it lay is nobody's business.
  const file = (name: string): string | undefined => {
    const path = text(name)
    return path === undefined ? undefined : basename(path)
  }
  const { check } = value
  return {
    before,
    after,
    provider: text('provider'),
    data: file('data'),
    eval: file('eval'),
    check: hasNumbers(check, ['largest', 'bound']) ? (check as unknown as NumericCheck) : null,
    quality: entries(value['metrics'], readQuality),
    targets: entries(value['targets'], readTarget),
    conditions: entries(value['conditions'], readCondition),
    skipped: entries(value['skipped'], readSkipped),
  }
}

/** Entries that have the shape; others are of a version that says something else. */
const entries = <Entry>(list: unknown, read: (entry: Unknown) => Entry | undefined): Entry[] =>
  Array.isArray(list) ? list.flatMap((entry) => (isObject(entry) ? (read(entry) ?? []) : [])) : []

function readQuality(entry: Unknown): Quality | undefined {
  const { metric, before, value, samples } = entry
  const known = metricNames.find((name) => name === metric)
  if (!known || !isNumber(value)) return undefined
  return {
    metric: known,
    before: isNumber(before) ? before : null,
    after: value,
    samples: isNumber(samples) ? samples : 0,
  }
}

function readTarget(entry: Unknown): TargetEntry | undefined {
  const { target, before, asked, reached, met } = entry
  if (typeof target !== 'string' || !isNumber(before) || !isNumber(asked) || !isNumber(reached))
    return undefined
  return { target, kind: target.split('=')[0] ?? '', before, asked, reached, isMet: met === true }
}

function readCondition(entry: Unknown): ConditionEntry | undefined {
  const { condition, verdict, missed, message } = entry
  if (typeof condition !== 'string' || typeof message !== 'string') return undefined
  const isMissed = missed === true
  const result = verdict === 'undecided' ? verdict : isMissed ? 'fail' : 'pass'
  return { condition, result, isMissed, message }
}

function readSkipped({ block, layer, reason }: Unknown) {
  if (typeof block !== 'string' || !isNumber(layer) || typeof reason !== 'string') return undefined
  return { block, layer, reason }
}

const isObject = (value: unknown): value is Unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value)

const hasNumbers = (value: unknown, names: readonly string[]): value is Unknown =>
  isObject(value) && names.every((name) => isNumber(value[name]))

const isTotals = (value: unknown): value is Totals =>
  hasNumbers(value, ['parameters', 'bytes', 'flopsPerToken'])

const isSweep = ({ points, knee }: Unknown): boolean =>
  Array.isArray(points) &&
  points.length > 0 &&
  (knee === null || isNumber(knee)) &&
  points.every(
    (point) =>
      hasNumbers(point, ['ratio', 'parameters', 'bytes', 'flopsPerToken', 'value']) &&
      metricNames.some((name) => name === point['metric']),
  )

const spread = ['median', 'firstQuartile', 'thirdQuartile', 'runs']

function isBench({ models, shape, ratios, provider, threads, processor }: Unknown): boolean {
  const isSpread = (value: unknown): boolean => hasNumbers(value, spread)
  return (
    Array.isArray(models) &&
    models.length === 2 &&
    models.every(
      (entry) =>
        hasNumbers(entry, ['parameters', 'bytes']) &&
        isSpread(entry['prefill']) &&
        (entry['decode'] === null ||
          (isSpread(entry['decode']) && hasNumbers(entry['decode'], ['tokensPerSecond']))) &&
        (entry['memory'] === null || hasNumbers(entry['memory'], ['peakBytes'])),
    ) &&
    Object.values(shape as Unknown).every((dims) => Array.isArray(dims) && dims.every(isNumber)) &&
    isObject(ratios) &&
    hasNumbers(ratios['prefill'], ['ratio', 'low', 'high']) &&
    (ratios['decode'] === null || hasNumbers(ratios['decode'], ['ratio', 'low', 'high'])) &&
    typeof provider === 'string' &&
    typeof processor === 'string' &&
    isNumber(threads)
  )
}
