/**
 * What the ratio is a share of: parameters and operations are read from the axes, latency is timed. The
 * model is run with all heads, or all widths, cut to a few counts; what that saves is shared by the layers
 * alike, as a curve of each mask's count that is straight between the counts that were timed, and beyond the
 * least of them as it was up to there. Savings of several kinds add up in it, which is nearly so while the
 * stream stays as wide as it is.
 */
import { interleave } from '../../src/bench/interleave.js'
import { spreadOf } from '../../src/bench/statistics.js'
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
import { samplesOf } from '../../src/train/sampling.js'
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

export async function measureResources(
  input: ResourceInput,
  masks: readonly Mask[],
  { target, roundTo }: Pick<VtransOptions, 'target' | 'roundTo'>,
): Promise<Resource[]> {
  if (target === 'flops') return [operationsOf(input.view, masks)]
  const parameters = target === 'latency' ? [] : [parametersOf(input.view, masks)]
  const latency = target === 'parameters' ? [] : [await measureLatency(input, masks, roundTo)]
  return [...parameters, ...latency]
}

const shares = [0, 0.25, 0.5, 0.75] as const
/** Turns: enough for a median that few runs next to other programs don't move. */
const pace = { runs: 200, seconds: 20, warmUp: 2 } as const

/** In microseconds of one run on one sample, of what the blocks take. */
async function measureLatency(
  input: ResourceInput,
  all: readonly Mask[],
  roundTo: number,
): Promise<Resource> {
  const masks = all.filter(({ isWhole }) => !isWhole)
  const roles = [...new Set(masks.map(({ dimension }) => dimension.role))]
  const cases = roles.flatMap((role) => shares.map((share) => ({ role, share })))
  const models = cases.map(({ role, share }) => cutTo(input.model, masks, { role, share, roundTo }))
  const saved = await timeSavings(input, models)
  const curves = masks.map((mask): Curve => {
    const { role } = mask.dimension
    const alike = masks.filter((other) => other.dimension.role === role).length
    const own = cases.flatMap((each, at) =>
      each.role === role
        ? // Noise must not make the smaller model the slower one.
          [
            {
              count: countAt(mask, each.share, roundTo),
              saved: Math.max(0, saved[at] ?? 0) / alike,
            },
          ]
        : [],
    )
    const least = own[0] ?? { count: 0, saved: 0 }
    const whole = wholeOf(all, mask)
    // Of nothing there would be nothing.
    const total = (least.saved * mask.size) / Math.max(mask.size - least.count, 1)
    const knots = own.map((each) => ({ count: each.count, cost: total - each.saved }))
    const last = { count: mask.size, cost: total }
    return {
      mask: all.indexOf(mask),
      ...(whole >= 0 && { whole }),
      knots: rising([{ count: 0, cost: 0 }, ...knots, last]),
    }
  })
  const spent = { terms: [], curves }
  return { unit: 'microseconds', ...spent, total: costOf(spent, fullCounts(all)) }
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

/**
 * Microseconds that each model saves, by the medians of its share of the dense model's time in each turn. On a
 * CPU it is the processor's time of one thread: by the clock other programs slow long runs more than short
 * ones, and threads that wait for each other count that too.
 */
async function timeSavings(input: ResourceInput, models: readonly Model[]): Promise<number[]> {
  const { batches, provider = 'cpu', signal, log } = input
  const isCpu = provider === 'cpu'
  const threads = isCpu ? 1 : input.threads
  const feeds = { ...samplesOf(batches.slice(0, 1))[0]?.feeds }
  const files = [input.model, ...models].map((model) => materialise(model))
  const sessions = await Promise.all(
    files.map(({ path }) => openSession({ path, provider, threads, signal, takesTurns: true })),
  )
  try {
    const contestants = sessions.map((session) => async () => {
      const before = process.cpuUsage()
      await session.run(feedsOf(session, feeds))
      const { user, system } = process.cpuUsage(before)
      return isCpu ? (user + system) / 1000 : session.lastRunMs
    })
    const onTurn = (done: number, total: number) => log.progress('timing', done, total)
    const [dense = [], ...times] = await interleave(contestants, { ...pace, signal, onTurn })
    const whole = 1000 * spreadOf(dense).median
    return times.map((own) => {
      const left = spreadOf(own.map((each, turn) => each / (dense[turn] ?? each))).median
      return whole * (1 - left)
    })
  } finally {
    await Promise.all(sessions.map((session) => session.close()))
    for (const file of files) file.dispose()
  }
}
