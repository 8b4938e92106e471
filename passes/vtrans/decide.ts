/**
 * VTrans: which heads and neurons go is learned by gradients through noisy masks, on the loss itself, or found
 * by the error of each block where held-out data say that this is better; what stays is re-fitted in closed
 * form, or takes its mask's mean in; then means are learned on top, and kept where held-out data gain.
 */
import { AttncError } from '../../src/errors.js'
import { type Findings, short, type TrainingPoint, thinned } from '../../src/plan/findings.js'
import type { PlanSlice, RefittedProjection } from '../../src/plan/plan.js'
import { type Candidate, cutByError, cutByMasks } from './candidates.js'
import type { VtransInput } from './input.js'
import { type LearnedMasks, learnMasks } from './learn.js'
import { sharesOf, type VtransOptions } from './options.js'
import type { Resource } from './resource.js'
import { type Settled, settleMeans } from './settle.js'

export interface VtransDecision {
  readonly slices: readonly PlanSlice[]
  readonly projections: readonly RefittedProjection[]
  /** How much goes of each resource, and what all that masks are learned for has of it. */
  readonly removed: readonly number[]
  readonly resources: readonly Resource[]
  readonly findings: Findings
}

/** Errors: RECOVER_HIDDEN, NOTHING_PRUNABLE, those of learning. */
export async function decideVtrans(
  input: VtransInput,
  options: VtransOptions,
): Promise<VtransDecision> {
  assertRefittable(options)
  const learned = await learnMasks({ ...input, batches: input.training ?? input.batches }, options)
  return decideSelected(input, learned, options)
}

/** What goes by masks that were learned, or by what is better, and what answers for it. */
export async function decideSelected(
  input: VtransInput,
  learned: LearnedMasks,
  options: VtransOptions,
): Promise<VtransDecision> {
  assertRefittable(options)
  const { log } = input
  const isLearned = options.variant !== 'local'
  const candidates = [await cutByMasks(input, learned, options)]
  if (isLearned && input.heldOut && options.recover === 'ridge' && options.choice === 'best') {
    const byError = await cutByError(input, learned, options)
    if (byError) candidates.push(byError)
    else log.info("The error of some block can't be told: what goes is chosen by learned masks.")
  }
  const teaching = { ...input, batches: input.training ?? input.batches }
  const updates = isLearned ? sharesOf(options).settling : 0
  const all: [Candidate, Settled][] = []
  for (const each of candidates) {
    const settled = await settleMeans(teaching, each, {
      ...options,
      settle: isLearned ? options.settle : 0,
    })
    all.push([each, settled])
    if (settled.before !== undefined) log.info(describe(each, settled, updates))
  }
  const [chosen, settled] = all.reduce((one, other) =>
    (other[1].best ?? 0) < (one[1].best ?? 0) ? other : one,
  )
  if (candidates.length > 1) log.info(`What goes is chosen by ${chosen.by}.`)
  return {
    slices: chosen.slices,
    projections: settled.projections,
    removed: chosen.removed,
    resources: learned.resources,
    findings: findingsOf(learned, chosen, settled),
  }
}

/** How a candidate does on held-out data. */
function describe({ by }: Candidate, { before, best, kept }: Settled, updates: number): string {
  const loss = (value: number | undefined): string => (value ?? 0).toFixed(4)
  const means =
    updates === 0
      ? ''
      : kept === 0
        ? '; learned means make it no better and are left out'
        : `, ${loss(best)} with the means of update ${kept} of ${updates}, which are kept`
  return `Cut by ${by}: held-out loss ${loss(before)}${means}.`
}

function assertRefittable({ recover, structures }: VtransOptions): void {
  if (recover === 'ridge' && structures.includes('hidden'))
    throw new AttncError(
      'RECOVER_HIDDEN',
      'usage',
      'The re-fit compares streams of one width, and channels of the stream are to go.',
      { suggestions: ['Leave "hidden" out of the structures, or recover "none".'] },
    )
}

function findingsOf(
  { curve = [] }: LearnedMasks,
  { findings }: Candidate,
  { curve: settling, before, best }: Settled,
): Findings {
  const after = settling.map((point: TrainingPoint) => ({
    ...point,
    update: point.update + curve.length,
  }))
  // What the masks left is where the means begin.
  const masks = curve.map((point, at) =>
    at + 1 === curve.length && before !== undefined ? { ...point, heldOut: short(before) } : point,
  )
  const all = [...masks, ...after]
  const drawn = new Set(thinned(all))
  const own = all.filter((point) => drawn.has(point) || point.heldOut !== undefined)
  const judged = before === undefined ? {} : { before, best }
  const training = { updates: all.length, curve: own, ...judged } as Findings['training']
  return { ...findings, ...(all.length > 0 && { training }) } as Findings
}
