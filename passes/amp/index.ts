/** AMP as a pass: its options from the command line or from a program, its part of the plan. */
import { AttncError } from '../../src/errors.js'
import { parseRatio, parseRoundTo } from '../../src/plan/numbers.js'
import type {
  ChosenPass,
  Cutter,
  Demand,
  Pass,
  PassContext,
  PassFlags,
} from '../../src/plan/pass.js'
import { parseProtect } from '../../src/plan/protect.js'
import { deepest } from '../../src/repair/rank-by-error.js'
import { chooseBlocks } from './choose-blocks.js'
import { outlineMost, RankedBlocks } from './decide.js'
import { type AmpOptions, ampDefaults } from './options.js'
import { findSkipped } from './skipped.js'

/** Errors of its decision: NO_DATA, NOTHING_REMOVED and those of `decideAmp`. */
export function amp(chosen: Partial<AmpOptions> = {}): ChosenPass {
  const options = { ...ampDefaults, ...chosen }
  const { criterion, recover } = options
  const needsData = !['magnitude', 'random'].includes(criterion) || recover === 'ridge'
  // Hosts with a cache expect one shape of keys and values.
  const withValues = (all: AmpOptions, hasCache: boolean): AmpOptions => ({
    ...all,
    values: chosen.values ?? !hasCache,
  })
  const open = async (context: PassContext, asked: AmpOptions): Promise<Cutter> => {
    const all = withValues(asked, context.hasCache)
    const calibration = needsData ? await context.calibrate() : new Map()
    const ranked = await RankedBlocks.open({ ...context, calibration }, all)
    return {
      outline: (demand) => ranked.outline(demand),
      decide: async (demand) => {
        const decision = await ranked.decide(demand)
        const { removed, prunable, shortfall, ...decided } = decision
        if (decided.slices.length === 0) throw nothingRemoved(demand, options.roundTo)
        const [gone, most] = [removed, prunable].map((n) => Math.round(n).toLocaleString('en'))
        context.log.info(`${gone} of ${most} parameters of attention and feed-forward blocks go.`)
        if (shortfall) context.log.warn('RATIO_SHORT', shortfall)
        return { pass: 'amp', options: { ...all, ratio: demand.ratio }, ...decided }
      },
      [Symbol.asyncDispose]: () => ranked[Symbol.asyncDispose](),
    }
  }
  return {
    name: 'amp',
    phase: 'cut',
    check({ view, canCalibrate }) {
      // Values are left out later, where a cache is found.
      chooseBlocks(view, { ...options, values: chosen.values ?? true })
      if (needsData && !canCalibrate)
        throw new AttncError(
          'NO_DATA',
          'usage',
          'Pruning is decided on data, and none was given.',
          {
            suggestions: [
              'Give some with --data: a text file for a language model, an .npz with one array per input for others.',
              'Without data: --data self has a language model make up its own; --criterion magnitude --recover none needs none.',
            ],
          },
        )
    },
    async decide(context) {
      await using cutter = await open(context, options)
      return await cutter.decide(options)
    },
    cut: {
      most: ({ view, hasCache }, prices) =>
        outlineMost(view, withValues(options, hasCache), prices),
      // Seconds or bytes are taken from blocks of all kinds: their errors have to be comparable.
      open: (context) =>
        open(context, { ...options, weigh: chosen.weigh ?? 'answers', ratio: deepest }),
    },
    skipped: (view) => findSkipped(view, options),
  }
}

const nothingRemoved = ({ ratio }: Demand, roundTo: number): AttncError =>
  new AttncError(
    'NOTHING_REMOVED',
    'partial',
    `A ratio of ${ratio} is less than the smallest unit that could go.`,
    {
      suggestions: [
        'Ask for a higher --ratio.',
        ...(roundTo > 1
          ? [`Widths stay multiples of ${roundTo}: ask for a smaller --round-to.`]
          : []),
      ],
    },
  )

/** Values of its flags, where they were given. */
interface AmpFlags
  extends Partial<Pick<AmpOptions, 'criterion' | 'allocation' | 'weigh' | 'scope' | 'seed'>> {
  readonly ratio?: string
  readonly recover?: string
  readonly 'round-to'?: string
  readonly protect?: readonly string[]
  readonly paper?: boolean
}

const paper = { criterion: 'paper', allocation: 'uniform', recover: 'none' } as const

export const ampPass: Pass = {
  name: 'amp',
  summary: 'cuts heads, members of values and neurons, and re-fits what stays in closed form',
  flags: [
    'ratio',
    'criterion',
    'allocation',
    'weigh',
    'recover',
    'scope',
    'round-to',
    'protect',
    'paper',
  ],
  read(flags: PassFlags, view) {
    const given = flags as AmpFlags
    const { criterion, allocation, weigh, recover, scope, seed } = given
    return amp({
      protect: parseProtect(given.protect ?? [], view),
      ...(given.ratio !== undefined && { ratio: parseRatio(given.ratio) }),
      ...(seed !== undefined && { seed }),
      ...(criterion && { criterion }),
      ...(allocation && { allocation }),
      ...(weigh && { weigh }),
      // What is trained afterwards starts from the closed form.
      ...(recover && { recover: recover === 'none' ? 'none' : 'ridge' }),
      ...(scope && { scope }),
      ...(given['round-to'] && { roundTo: parseRoundTo(given['round-to']) }),
      ...(given.paper && paper),
    })
  },
}
