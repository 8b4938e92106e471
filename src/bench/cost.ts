/**
 * What a model costs, by the names that targets and conditions use, and amounts of it as they are typed:
 * `0.7x`, `-20%`, `50MB`, `12ms`, and the shape of what is timed, `batch=1,seq=512`.
 */

import { describeBytes, describeCount } from '../amounts.js'

/** What a model costs, by the names that targets and conditions use. */
export const costNames = [
  'params',
  'size',
  'flops',
  'kv',
  'latency',
  'throughput',
  'memory',
] as const
/** A cost that targets and conditions can name. */
export type CostName = (typeof costNames)[number]

/** Costs that are run for; the others are counted. */
export type MeasuredCost = 'latency' | 'throughput' | 'memory'
export type CountedCost = Exclude<CostName, MeasuredCost>

export const isMeasured = (name: CostName): name is MeasuredCost =>
  name === 'latency' || name === 'throughput' || name === 'memory'

/** Of what more is better. */
export const isGain = (name: CostName): boolean => name === 'throughput'

const counts: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, b: 1e9, t: 1e12 }
const bytes: Readonly<Record<string, number>> = {
  ...{ b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 },
  ...{ kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 },
}

/** Factors of units, in small letters. */
const units: Readonly<Record<CostName, Readonly<Record<string, number>>>> = {
  params: counts,
  size: bytes,
  flops: counts,
  kv: bytes,
  latency: { ms: 1, s: 1000 },
  throughput: { '/s': 1, 'k/s': 1e3 },
  memory: bytes,
}

export const costExamples: Readonly<Record<CostName, string>> = {
  params: 'params=0.8x or params=100M',
  size: 'size=0.8x or size=50MB',
  flops: 'flops=0.7x or flops=2.5G (for one token)',
  kv: 'kv=0.5x or kv=10kB (of the cache, for one token)',
  latency: 'latency=0.7x@batch=1,seq=512 or latency=12ms',
  throughput: 'throughput=1.4x@batch=8,seq=128 or throughput=5000/s (tokens)',
  memory: 'memory=0.8x or memory=200MB (at most, beside what the runtime takes)',
}

const milliseconds = (value: number): string => `${value.toPrecision(3)} ms`

/** An amount of a cost for people. */
export const describeCost: Readonly<Record<CostName, (value: number) => string>> = {
  params: describeCount,
  size: describeBytes,
  flops: describeCount,
  kv: describeBytes,
  latency: milliseconds,
  throughput: (value) => `${describeCount(value)}/s`,
  memory: describeBytes,
}

/** Shape on which something is run; what is absent is chosen as `bench` does. */
export interface RunShape {
  readonly batchSize?: number | undefined
  readonly sequenceLength?: number | undefined
}

export interface Amount {
  readonly number: number
  /** Stated as a multiple of what the original has, `0.7x`; or in percent, as it stands. */
  readonly unit: 'x' | '%' | 'absolute'
}

/** An amount of a cost; a string says what is wrong with it. */
export function parseAmount(name: CostName, text: string): Amount | string {
  const match = /^\s*([+-]?\d*\.?\d+(?:e\d+)?)\s*([a-z%×/]*)\s*$/i.exec(text)
  if (!match) return `"${text}" is no number with a unit`
  const [, digits, typed = ''] = match
  const unit = typed.toLowerCase()
  const number = Number(digits)
  if (unit === 'x' || unit === '×') return { number, unit: 'x' }
  if (unit === '%') return { number, unit: '%' }
  const factor = units[name][unit]
  if (factor !== undefined) return { number: number * factor, unit: 'absolute' }
  const known = Object.keys(units[name]).filter((each) => each !== '')
  const found = typed === '' ? 'it has no unit' : `its unit is "${typed}"`
  return `${found}; x, % and ${known.join(', ')} are understood`
}

/** `batch=1,seq=512`; a string says what is wrong with it. */
export function parseShape(text: string): RunShape | string {
  const shape: { batchSize?: number; sequenceLength?: number } = {}
  for (const entry of text.split(',')) {
    const [key, value] = entry.split('=').map((each) => each.trim())
    const number = Number(value)
    if (!Number.isInteger(number) || number < 1) return `"${entry}" gives no whole number from 1 on`
    if (key === 'batch') shape.batchSize = number
    else if (key === 'seq') shape.sequenceLength = number
    else return `"${key}" is no part of a shape; batch and seq are`
  }
  return shape
}
