/** VTrans as a pass: its options from the command line or from a program, its part of the plan. */
import { AttncError } from '../../src/errors.js'
import { parseBytes, parseRatio, parseRoundTo } from '../../src/plan/numbers.js'
import type { ChosenPass, Pass, PassFlags } from '../../src/plan/pass.js'
import { parseProtect } from '../../src/plan/protect.js'
import { decideSelected, decideVtrans } from './decide.js'
import { localMasks } from './local.js'
import { findMasks } from './masks.js'
import { type Target, type Variant, type VtransOptions, vtransDefaults } from './options.js'
import { chooseSources } from './text.js'
import { trainWeights } from './weights.js'

/** Errors of its decision: NO_DATA, NOTHING_PRUNABLE, NOTHING_REMOVED, those of training. */
export function vtrans(chosen: Partial<VtransOptions> = {}): ChosenPass {
  const hasHidden = chosen.structures?.includes('hidden') === true
  const recover = hasHidden ? 'none' : vtransDefaults.recover
  const options = { ...vtransDefaults, recover, ...chosen }
  return {
    name: 'vtrans',
    phase: 'cut',
    isLearning: options.variant !== 'local',
    check({ view, batches }) {
      findMasks(view, options)
      if (!batches)
        throw new AttncError('NO_DATA', 'usage', 'Masks are learned on data, and none was given.', {
          suggestions: ['Give some with --data, or use --pass amp with --criterion magnitude.'],
        })
    },
    async decide(context) {
      const { batches = [], training: all = batches, log } = context
      const sources = await chooseSources(context, { batches, all }, options)
      const { training, heldOut, text, fitting } = sources
      const input = {
        ...context,
        batches: fitting,
        training: [...training, ...text],
        heldOut,
      }
      const decision =
        options.variant === 'local'
          ? await decideSelected(
              input,
              await localMasks(input, await context.calibrate(), options),
              options,
            )
          : await decideVtrans(input, options)
      const { removed, resources, findings, ...decided } = decision
      if (decided.slices.length === 0)
        throw new AttncError(
          'NOTHING_REMOVED',
          'partial',
          `A ratio of ${options.ratio} is less than the smallest unit that could go.`,
          { suggestions: ['Ask for a higher --ratio.'] },
        )
      for (const [index, { unit, total }] of resources.entries()) {
        const [gone, most] = [removed[index] ?? 0, total].map((n) =>
          Math.round(n).toLocaleString('en'),
        )
        log.info(`${gone} of ${most} ${unit} of attention and feed-forward blocks go.`)
      }
      const made = text.reduce((sum, { ids }) => sum + ids.length, 0)
      const learned = findings.training && { training: { ...findings.training, made } }
      const part = { pass: 'vtrans', options, ...decided, findings: { ...findings, ...learned } }
      if (options.variant !== 'fast' && options.variant !== 'full') return part
      return [
        part,
        {
          pass: 'vtrans',
          ...(await trainWeights({ ...context, batches: training, heldOut, text }, part, options)),
        },
      ]
    },
  }
}

interface VtransFlags {
  readonly ratio?: string
  readonly variant?: Variant
  readonly 'ratio-of'?: Target
  readonly recover?: string
  readonly choice?: VtransOptions['choice']
  readonly scope?: keyof typeof scopes
  readonly layers?: boolean
  readonly updates?: number
  readonly recite?: number
  readonly 'round-to'?: string
  readonly protect?: readonly string[]
  readonly seed?: number
  readonly 'memory-limit'?: string
}

const scopes = {
  all: vtransDefaults.structures,
  heads: ['heads'],
  feedForward: ['width'],
} as const

export const vtransPass: Pass = {
  name: 'vtrans',
  summary: 'learns by gradients which heads and neurons go',
  flags: [
    'ratio',
    'variant',
    'ratio-of',
    'recover',
    'choice',
    'scope',
    'layers',
    'round-to',
    'protect',
    'updates',
    'recite',
    'memory-limit',
  ],
  followedBy: ['lighten'],
  read(flags: PassFlags, view) {
    const given = flags as VtransFlags
    const { variant, recover, recite, scope = 'all', layers, seed, updates } = given
    const { 'ratio-of': target, choice } = given
    return vtrans({
      protect: parseProtect(given.protect ?? [], view),
      ...(given.ratio !== undefined && { ratio: parseRatio(given.ratio) }),
      ...(seed !== undefined && { seed }),
      ...(updates !== undefined && { updates }),
      ...(recite !== undefined && { recite }),
      ...(variant && { variant }),
      ...(target && { target }),
      ...(choice && { choice }),
      // What is trained afterwards is another pass's.
      ...((recover === 'none' || recover === 'ridge') && { recover }),
      structures: [...scopes[scope], ...(layers ? (['layers'] as const) : [])],
      ...(given['memory-limit'] !== undefined && {
        memoryLimit: parseBytes('memory-limit', given['memory-limit']),
      }),
      ...(given['round-to'] && { roundTo: parseRoundTo(given['round-to']) }),
    })
  },
}
