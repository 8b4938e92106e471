/** Targets as they are typed: `params=0.8x`, `size=50MB`, `latency=0.7x@batch=1,seq=512`. */
import {
  type CostName,
  costExamples,
  costNames,
  isGain,
  isMeasured,
  parseAmount,
  parseShape,
  type RunShape,
} from '../bench/cost.js'
import { AttncError } from '../errors.js'

/** A cost, and how much of it is wanted. */
export interface Target {
  /** As it was typed. */
  readonly text: string
  readonly kind: CostName
  /**
   * At most so much: parameters, bytes, operations, bytes a token, milliseconds; at least so many tokens
   * a second; or a share.
   */
  readonly limit: number
  /** The limit is a share of what the original has. */
  readonly isShare: boolean
  readonly shape: RunShape
}

/** Errors: those of each, TARGET_TWICE. */
export function parseTargets(texts: readonly string[]): Target[] {
  const targets = texts.map(parseTarget)
  for (const [index, { text, kind, shape }] of targets.entries()) {
    const first = targets
      .slice(0, index)
      .find((each) => each.kind === kind && JSON.stringify(each.shape) === JSON.stringify(shape))
    if (first)
      throw new AttncError(
        'TARGET_TWICE',
        'usage',
        `"${first.text}" and "${text}" ask for two amounts of the same.`,
        { suggestions: ['Keep the one that is meant; of both, only the tighter could rule.'] },
      )
  }
  return targets
}

/** Errors: TARGET_KIND, TARGET_FORMAT, TARGET_RANGE. */
export function parseTarget(text: string): Target {
  const [name = '', ...rest] = text.split('=')
  const kind = costNames.find((each) => each === name.trim())
  if (!kind)
    throw new AttncError('TARGET_KIND', 'usage', `"${text}" is no target that attnc knows.`, {
      suggestions: Object.values(costExamples),
    })
  const fail = (what: string): AttncError =>
    new AttncError('TARGET_FORMAT', 'usage', `The target "${text}" can't be read: ${what}.`, {
      suggestions: [`For instance ${costExamples[kind]}.`],
    })
  const [typed = '', ...shapes] = rest.join('=').split('@')
  const amount = parseAmount(kind, typed)
  if (typeof amount === 'string') throw fail(amount)
  if (/^\s*[+-]/.test(typed)) throw fail('it is the amount that is to be left, without a sign')
  if (shapes.length > 1) throw fail('it has more than one "@"')
  if (shapes.length > 0 && !isMeasured(kind))
    throw fail('only what is measured is measured on a shape')
  const shape = shapes[0] === undefined ? {} : parseShape(shapes[0])
  if (typeof shape === 'string') throw fail(shape)
  const { number, unit } = amount
  const isShare = unit !== 'absolute'
  const limit = unit === '%' ? number / 100 : number
  const isPossible = isShare ? (isGain(kind) ? limit > 1 : limit > 0 && limit < 1) : limit > 0
  if (!isPossible) throw outOfRange({ text, kind, limit, isShare, shape })
  return { text, kind, limit, isShare, shape }
}

function outOfRange({ text, kind, limit, isShare }: Target): AttncError {
  const range = isGain(kind) ? 'more is above 1' : 'a share lies between 0 and 1'
  const what = isShare ? `${limit} times what the model has; ${range}` : 'nothing'
  return new AttncError('TARGET_RANGE', 'usage', `The target "${text}" asks for ${what}.`, {
    suggestions: [`For instance ${costExamples[kind]}.`],
  })
}
