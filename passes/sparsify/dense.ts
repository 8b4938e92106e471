/**
 * What becomes of attention that stays dense: it is left as it is, or becomes attnc's operator, MultiHeadAttention or
 * GroupQueryAttention of ONNX Runtime, whichever is fastest on this provider. Each way is timed, in turns, on the
 * model's own part from its inputs to the first such block, with the data's shapes; a way is taken only if it
 * is faster for sure.
 */
import { inputsOf } from '../../src/bench/bench.js'
import { interleave } from '../../src/bench/interleave.js'
import { pairedRatio, type Ratio } from '../../src/bench/statistics.js'
import { AttncError } from '../../src/errors.js'
import { readHostConfig } from '../../src/generate/host-config.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model } from '../../src/graph/graph.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import type { PassContext } from '../../src/plan/pass.js'
import { type AttentionPatterns, fusedOperators } from '../../src/plan/plan.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession, type Session, type SessionOptions } from '../../src/runtime/session.js'
import type { Examined } from '../../src/sparse/examine.js'

const pace = { runs: 15, seconds: 8, warmUp: 2 }

interface Way {
  readonly name: string
  readonly entries: readonly AttentionPatterns[]
}

/** How blocks that stay dense are computed; none where that is best left alone. */
export async function fuseDense(
  context: PassContext,
  blocks: readonly Examined[],
): Promise<readonly AttentionPatterns[]> {
  const found: AttentionPatterns[] = []
  for (const alike of groupAlike(context, blocks)) found.push(...(await chooseWay(context, alike)))
  return found
}

async function chooseWay(
  context: PassContext,
  blocks: readonly Examined[],
): Promise<readonly AttentionPatterns[]> {
  const { key } = blocks[0] as Examined
  const entries = blocks.map((each) => ({
    block: each.key,
    patterns: ['dense'],
    masks: each.masks,
  }))
  // ONNX Runtime's operators count queries from the first key on.
  const operators = context.hasCache ? [] : fusedOperators
  const ways: Way[] = [
    { name: 'as it is', entries: [] },
    { name: "attnc's operator", entries },
    ...operators.map((operator) => ({
      name: operator,
      entries: entries.map((entry) => ({ ...entry, operator })),
    })),
  ]
  const best = surelyFastest(await timeWays(context, key, ways))
  const way = best && ways[best.index]
  const which = blocks.length > 1 ? `${key} and ${blocks.length - 1} like it` : key
  context.log.info(
    way
      ? `${which} stay dense, by ${way.name}: up to there the model takes ${said(best.ratio)} of the time.`
      : `${which} stay dense and as they are: nothing was surely faster.`,
  )
  return way?.entries ?? []
}

/** Milliseconds of every turn by the clock, and of the processor where the work is done there. */
export interface Timed {
  readonly clock: readonly number[]
  readonly processor?: readonly number[] | undefined
}

/** The fastest of those that are faster than the first for sure; undefined where none is. */
export function surelyFastest(times: readonly (Timed | undefined)[]) {
  const [first] = times
  const faster = times.flatMap((own, index) => {
    if (index === 0 || !first || !own) return []
    const ratio = surer(
      pairedRatio(first.clock, own.clock, 0),
      first.processor && own.processor && pairedRatio(first.processor, own.processor, 0),
    )
    return ratio.high < 1 ? [{ index, ratio }] : []
  })
  return faster.toSorted((one, other) => one.ratio.ratio - other.ratio.ratio)[0]
}

/** On a machine that others use, time says little and processor time more. */
const surer = (clock: Ratio, processor: Ratio | undefined): Ratio =>
  processor && processor.high - processor.low < clock.high - clock.low ? processor : clock

const said = ({ ratio, low, high }: Ratio): string =>
  `${ratio.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`

/** Blocks of the same sizes and masks: one of them is timed. */
function groupAlike({ view }: PassContext, blocks: readonly Examined[]): Examined[][] {
  const groups = new Map<string, Examined[]>()
  for (const each of blocks) {
    const block = view.attention[Number(each.key.split('.')[1])]
    const sizes = [block?.heads, block?.keyValueHeads, block?.headSize, block?.valueHeadSize]
    const key = JSON.stringify([sizes, block?.node.op, each.masks])
    groups.set(key, [...(groups.get(key) ?? []), each])
  }
  return [...groups.values()]
}

/** Times of each way, turn by turn; undefined for one that can't be. */
async function timeWays(
  context: PassContext,
  block: string,
  ways: readonly Way[],
): Promise<(Timed | undefined)[]> {
  const { provider = 'cpu', threads, signal, log } = context
  const feeds = await feedsOf(context)
  const opened: (Session | undefined)[] = []
  const files: { dispose(): void }[] = []
  try {
    for (const { entries } of ways) {
      const part = upTo(context, block, entries)
      const file = part && materialise(part)
      if (file) files.push(file)
      opened.push(file && (await openWay(file.path, feeds, { provider, threads, signal })))
    }
    const sessions = opened.filter((session) => session !== undefined)
    const used: number[][] = sessions.map(() => [])
    const rows = await interleave(
      sessions.map((session, index) => async () => {
        const before = process.cpuUsage()
        await session.run(fed(session, feeds))
        const { user, system } = process.cpuUsage(before)
        used[index]?.push((user + system) / 1000)
        return session.lastRunMs
      }),
      { ...pace, signal, onTurn: (done, all) => log.progress('timing dense attention', done, all) },
    )
    return opened.map((session) => {
      const index = session ? sessions.indexOf(session) : -1
      const clock = rows[index]
      // Runs that warmed up are no turns.
      return (
        clock && {
          clock,
          processor: provider === 'cpu' ? used[index]?.slice(-clock.length) : undefined,
        }
      )
    })
  } finally {
    for (const session of opened) await session?.close()
    for (const file of files) file.dispose()
  }
}

/** The model from its inputs to the first node that reads the block's context, which keeps its name. */
function upTo(
  { model, view }: PassContext,
  block: string,
  entries: readonly AttentionPatterns[],
): Model | undefined {
  const context = view.attention[Number(block.split('.')[1])]?.context
  const name = [...(context?.uses ?? [])][0]?.node.outputs[0]?.name
  if (name === undefined) return undefined
  const copy = extractSubgraph(model.graph, new Map(), model.graph.outputs)
  try {
    if (entries.length > 0) applyPart(copy.graph, { slices: [], attention: entries })
  } catch (error) {
    if (error instanceof AttncError) return undefined
    throw error
  }
  const end = copy.graph.findValue(name)
  return end && extractSubgraph(copy.graph, new Map(), [end])
}

/** Data as it was given, one batch; else a prompt as long as a bench's. */
async function feedsOf(context: PassContext): Promise<Readonly<Record<string, RuntimeTensor>>> {
  const { source, batches, view } = context
  const { positions = 512 } = readHostConfig(source.folder)
  const given = batches?.[0]
  const vocabulary = view.vocabulary ?? Number.POSITIVE_INFINITY
  const options = { ...context, sequenceLength: Math.min(512, positions) }
  return (given ?? (await inputsOf(source, vocabulary, options))).feeds
}

const fed = ({ inputs }: Session, feeds: Readonly<Record<string, RuntimeTensor>>) =>
  Object.fromEntries(
    Object.entries(feeds).filter(([name]) => inputs.some((each) => each.name === name)),
  )

/** A way that doesn't run is none. */
async function openWay(
  path: string,
  feeds: Readonly<Record<string, RuntimeTensor>>,
  options: Pick<SessionOptions, 'provider' | 'threads' | 'signal'>,
): Promise<Session | undefined> {
  let session: Session | undefined
  try {
    session = await openSession({ path, ...options, quiet: true, takesTurns: true })
    await session.run(fed(session, feeds))
    return session
  } catch {
    await session?.close()
    options.signal?.throwIfAborted()
    return undefined
  }
}
