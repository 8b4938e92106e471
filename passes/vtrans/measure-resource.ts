/**
 * What the ratio is a share of: parameters and operations are read from the axes, latency is timed. The
 * model is run with all heads, or all widths, cut to a few counts; what that saves is shared by the layers
 * alike, as a curve of each mask's count that is straight between the counts that were timed. Savings
 * of several kinds add up in it, which is nearly so while the stream stays as wide as it is.
 */
import type { Batch } from '../../src/data/batch.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model } from '../../src/graph/graph.js'
import type { TransformerModel } from '../../src/model/model.js'
import type { Role } from '../../src/model/model-dimension.js'
import { applyPart } from '../../src/plan/apply.js'
import type { RunOptions } from '../../src/runtime/batches.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import { feedsOf } from '../../src/train/feeds.js'
import { type Mask, wholeOf } from './masks.js'
import type { VtransOptions } from './options.js'
import {
  type Curve,
  costOf,
  fullCounts,
  operationsOf,
  parametersOf,
  type Resource,
} from './resource.js'

export interface ResourceInput extends RunOptions {
  readonly model: Model
  readonly view: TransformerModel
  readonly batches: readonly Batch[]
}

export async function measureResource(
  input: ResourceInput,
  masks: readonly Mask[],
  { target, roundTo }: Pick<VtransOptions, 'target' | 'roundTo'>,
): Promise<Resource> {
  if (target === 'parameters') return parametersOf(input.view, masks)
  if (target === 'flops') return operationsOf(input.view, masks)
  return measureLatency(input, masks, roundTo)
}

const shares = [0, 0.25, 0.5, 0.75] as const
/** Turns: so many at least, and then for a while, as one that nothing disturbs tells the most. */
const rounds = { least: 7, most: 60, milliseconds: 10_000 } as const

/** In microseconds of one run on the first batch. */
async function measureLatency(
  input: ResourceInput,
  all: readonly Mask[],
  roundTo: number,
): Promise<Resource> {
  const masks = all.filter(({ isWhole }) => !isWhole)
  const roles = [...new Set(masks.map(({ dimension }) => dimension.role))]
  const cases = roles.flatMap((role) => shares.map((share) => ({ role, share })))
  const models = cases.map(({ role, share }) => cutTo(input.model, masks, { role, share, roundTo }))
  const [dense = 0, ...times] = await timeInTurns(input, [input.model, ...models])
  const curves = masks.map((mask): Curve => {
    const { role } = mask.dimension
    const alike = masks.filter((other) => other.dimension.role === role).length
    const knots = cases.flatMap((each, at) => {
      // Noise must not make the smaller model the slower one.
      const saved = Math.max(0, dense - (times[at] as number)) / alike
      return each.role === role
        ? [{ count: countAt(mask, each.share, roundTo), cost: dense / masks.length - saved }]
        : []
    })
    const last = { count: mask.size, cost: dense / masks.length }
    const whole = wholeOf(all, mask)
    return {
      mask: all.indexOf(mask),
      ...(whole >= 0 && { whole }),
      knots: rising([...knots, last]),
    }
  })
  const spent = { terms: [], curves }
  return { ...spent, total: costOf(spent, fullCounts(all)) }
}

/** Knots of ascending counts, each as dear as those before it or dearer. */
function rising(knots: Curve['knots']): Curve['knots'] {
  let least = Number.NEGATIVE_INFINITY
  return knots
    .filter(({ count }, index) => count < (knots[index + 1]?.count ?? Number.POSITIVE_INFINITY))
    .map(({ count, cost }) => {
      least = Math.max(least, cost)
      return { count, cost: least }
    })
}

function countAt({ size, dimension }: Mask, share: number, roundTo: number): number {
  const isWidth = dimension.role === 'width'
  const step = isWidth ? Math.max(1, Math.round(roundTo / dimension.granularity)) : 1
  return Math.min(size, Math.max(step, Math.round((size * share) / step) * step))
}

/** The model with every mask of a role cut to a share of its units. */
function cutTo(
  model: Model,
  masks: readonly Mask[],
  {
    role,
    share,
    roundTo,
  }: { readonly role: Role; readonly share: number; readonly roundTo: number },
): Model {
  const copy = extractSubgraph(model.graph, new Map(), [...model.graph.outputs])
  const slices = masks.flatMap((mask) => {
    const { id, size, granularity } = mask.dimension
    const from = countAt(mask, share, roundTo) * granularity
    if (mask.dimension.role !== role || from >= size) return []
    return [{ dimension: id, remove: Array.from({ length: size - from }, (_, i) => from + i) }]
  })
  applyPart(copy.graph, { slices })
  return copy
}

/** Microseconds of each model: the least of several runs in turns. */
async function timeInTurns(input: ResourceInput, models: readonly Model[]): Promise<number[]> {
  const { batches, provider = 'cpu', threads, signal, log } = input
  const best = models.map(() => Number.POSITIVE_INFINITY)
  const files = models.map((model) => materialise(model))
  const sessions = await Promise.all(
    files.map(({ path }) => openSession({ path, provider, threads, signal, takesTurns: true })),
  )
  try {
    const end = performance.now() + rounds.milliseconds
    const goesOn = (round: number): boolean =>
      round < rounds.least || (round < rounds.most && performance.now() < end)
    for (let round = 0; goesOn(round); round++) {
      for (const [index, session] of sessions.entries()) {
        await session.run(feedsOf(session, { ...batches[0]?.feeds }))
        if (round > 0) best[index] = Math.min(best[index] as number, 1000 * session.lastRunMs)
      }
      log.progress('timing', Math.min(round + 1, rounds.most), rounds.most)
    }
    return best
  } finally {
    await Promise.all(sessions.map((session) => session.close()))
    for (const file of files) file.dispose()
  }
}
