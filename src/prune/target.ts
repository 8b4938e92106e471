/** Targets as they are typed: `params=0.8x`, `size=50MB`, `latency=0.7x@batch=1,seq=512`. */
import { AttncError } from '../errors.js'

export const targetKinds = ['params', 'size', 'flops', 'kv', 'latency'] as const
export type TargetKind = (typeof targetKinds)[number]

/** Shape on which latency is measured; what is absent is chosen as `bench` does. */
export interface LatencyShape {
  readonly batchSize?: number | undefined
  readonly sequenceLength?: number | undefined
}

export interface Target {
  /** As it was typed. */
  readonly text: string
  readonly kind: TargetKind
  /** At most so much: parameters, bytes, operations, bytes a token, milliseconds; or a share. */
  readonly limit: number
  /** The limit is a share of what the original has. */
  readonly isShare: boolean
  readonly shape: LatencyShape
}

const counts: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, b: 1e9, t: 1e12 }
const bytes: Readonly<Record<string, number>> = {
  ...{ b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 },
  ...{ kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 },
}
const times: Readonly<Record<string, number>> = { ms: 1, s: 1000 }

const units: Readonly<Record<TargetKind, Readonly<Record<string, number>>>> = {
  params: counts,
  size: bytes,
  flops: counts,
  kv: bytes,
  latency: times,
}

const examples: Readonly<Record<TargetKind, string>> = {
  params: 'params=0.8x or params=100M',
  size: 'size=0.8x or size=50MB',
  flops: 'flops=0.7x or flops=2.5G (for one token)',
  kv: 'kv=0.5x or kv=10kB (of the cache, for one token)',
  latency: 'latency=0.7x@batch=1,seq=512 or latency=12ms',
}

export const parseTargets = (texts: readonly string[]): Target[] => texts.map(parseTarget)

/** Errors: TARGET_KIND, TARGET_FORMAT, TARGET_RANGE. */
export function parseTarget(text: string): Target {
  const [name = '', ...rest] = text.split('=')
  const kind = targetKinds.find((each) => each === name.trim())
  if (!kind)
    throw new AttncError('TARGET_KIND', 'usage', `"${text}" is no target that attnc knows.`, {
      suggestions: Object.values(examples),
    })
  const fail = (what: string): AttncError =>
    new AttncError('TARGET_FORMAT', 'usage', `The target "${text}" can't be read: ${what}.`, {
      suggestions: [`For instance ${examples[kind]}.`],
    })
  const [amount = '', ...shapes] = rest.join('=').split('@')
  const match = /^\s*(\d*\.?\d+(?:e\d+)?)\s*([a-z%×]*)\s*$/i.exec(amount)
  if (!match) throw fail(`"${amount}" is no number with a unit`)
  if (shapes.length > 1) throw fail('it has more than one "@"')
  if (shapes.length > 0 && kind !== 'latency') throw fail('only latency is measured on a shape')
  const [, digits, unit = ''] = match
  const isShare = ['x', '×', '%'].includes(unit.toLowerCase())
  const factor = isShare ? (unit === '%' ? 0.01 : 1) : units[kind][unit.toLowerCase()]
  if (factor === undefined) {
    const known = Object.keys(units[kind]).filter((each) => each !== '')
    throw fail(`its unit is "${unit}"; x, % and ${known.join(', ')} are understood`)
  }
  const limit = Number(digits) * factor
  if (!(limit > 0) || (isShare && limit >= 1))
    throw new AttncError(
      'TARGET_RANGE',
      'usage',
      `The target "${text}" asks for ${isShare ? `${limit} times what the model has; a share lies between 0 and 1` : 'nothing to be left'}.`,
      { suggestions: [`For instance ${examples[kind]}.`] },
    )
  return { text, kind, limit, isShare, shape: parseShape(shapes[0], fail) }
}

function parseShape(text: string | undefined, fail: (what: string) => AttncError): LatencyShape {
  const shape: { batchSize?: number; sequenceLength?: number } = {}
  for (const entry of text?.split(',') ?? []) {
    const [key, value] = entry.split('=').map((each) => each.trim())
    const number = Number(value)
    if (!Number.isInteger(number) || number < 1)
      throw fail(`"${entry}" gives no whole number from 1 on`)
    if (key === 'batch') shape.batchSize = number
    else if (key === 'seq') shape.sequenceLength = number
    else throw fail(`"${key}" is no part of a shape; batch and seq are`)
  }
  return shape
}
