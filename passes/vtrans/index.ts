/** VTrans as a pass: its options from the command line or from a program, its part of the plan. */
import { AttncError } from '../../src/errors.js'
import { parseRatio, parseRoundTo } from '../../src/plan/numbers.js'
import type { ChosenPass, Pass, PassFlags } from '../../src/plan/pass.js'
import { parseProtect } from '../../src/plan/protect.js'
import { decideVtrans } from './decide.js'
import { type VtransOptions, vtransDefaults } from './options.js'

/** Errors of its decision: NO_DATA, NOTHING_PRUNABLE, NOTHING_REMOVED, those of training. */
export function vtrans(chosen: Partial<VtransOptions> = {}): ChosenPass {
  const options = { ...vtransDefaults, ...chosen }
  return {
    name: 'vtrans',
    phase: 'cut',
    check({ batches }) {
      if (!batches)
        throw new AttncError('NO_DATA', 'usage', 'Masks are learned on data, and none was given.', {
          suggestions: ['Give some with --data, or use --pass amp with --criterion magnitude.'],
        })
    },
    async decide(context) {
      const { batches = [], log } = context
      const decision = await decideVtrans({ ...context, batches }, options)
      const { slices, projections, removed, prunable } = decision
      if (slices.length === 0)
        throw new AttncError(
          'NOTHING_REMOVED',
          'partial',
          `A ratio of ${options.ratio} is less than the smallest unit that could go.`,
          { suggestions: ['Ask for a higher --ratio.'] },
        )
      const [gone, most] = [removed, prunable].map((n) => Math.round(n).toLocaleString('en'))
      log.info(`${gone} of ${most} parameters of attention and feed-forward blocks go.`)
      return { pass: 'vtrans', options, slices, projections }
    },
  }
}

interface VtransFlags {
  readonly ratio?: string
  readonly recover?: VtransOptions['recover']
  readonly scope?: 'all' | 'heads' | 'feedForward'
  readonly updates?: number
  readonly 'round-to'?: string
  readonly protect?: readonly string[]
  readonly seed?: number
}

const scopes = {
  all: vtransDefaults.structures,
  heads: ['heads'],
  feedForward: ['width'],
} as const

export const vtransPass: Pass = {
  name: 'vtrans',
  summary: 'learns by gradients which heads and neurons go',
  flags: ['ratio', 'recover', 'scope', 'round-to', 'protect', 'updates'],
  read(flags: PassFlags, view) {
    const given = flags as VtransFlags
    const { recover, scope, seed, updates } = given
    return vtrans({
      protect: parseProtect(given.protect ?? [], view),
      ...(given.ratio !== undefined && { ratio: parseRatio(given.ratio) }),
      ...(seed !== undefined && { seed }),
      ...(updates !== undefined && { updates }),
      ...(recover && { recover }),
      ...(scope && { structures: scopes[scope] }),
      ...(given['round-to'] && { roundTo: parseRoundTo(given['round-to']) }),
    })
  },
}
