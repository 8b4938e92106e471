/**
 * Whether the inputs of a run fit into memory, told from shapes before anything is opened: a system
 * that runs out of memory ends the process without a word. The surprise: ONNX Runtime's arena grows by
 * doubling, so that it takes about twice what lives at once.
 */
import { describeBytes } from '../amounts.js'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { estimateMemory } from '../gradients/memory/step-memory.js'
import type { Graph, Model } from '../graph/graph.js'
import { roomOf } from '../runtime/free-memory.js'
import type { ProviderName } from '../runtime/provider.js'
import { sizesOfFeeds } from '../train/feeds.js'

/** What activations take in an arena for each byte that lives. */
const ARENA = 2
/** Of what is free, the share that is advised: estimates lie below the truth. */
const ADVISED = 0.6

export interface Inputs {
  readonly graphs: readonly Graph[]
  readonly provider: ProviderName
  /** The batch of each model at so many tokens. */
  readonly batchesAt: (length: number) => readonly Batch[]
  readonly length: number
}

/** Error: TOO_LITTLE_MEMORY, with what would be needed and what fits. */
export function assertRoom(inputs: Inputs): void {
  const room = roomOf(inputs.provider, undefined, 1)
  if (!room) return
  const needed = bytesAt(inputs)
  const bytes = needed(inputs.length)
  if (bytes <= room.bytes) return
  const fitting = longestWithin(ADVISED * room.bytes, needed, inputs.length)
  throw new AttncError(
    'TOO_LITTLE_MEMORY',
    'runtime',
    `${inputs.length.toLocaleString('en')} tokens need about ${describeBytes(bytes)} of memory; ${describeBytes(room.bytes)} are free.`,
    { suggestions: adviceOf(fitting) },
  )
}

/** A failed run, with what fits where memory was short. */
export function explainShortage(error: unknown, inputs: Inputs): unknown {
  if (!(error instanceof AttncError) || error.code !== 'TOO_LITTLE_MEMORY') return error
  const room = roomOf(inputs.provider, undefined, 1)
  if (!room || error.cause === undefined) return error
  const most = Math.floor(inputs.length / 2)
  const fitting = longestWithin(ADVISED * room.bytes, bytesAt(inputs), most)
  const { code, kind, message, cause } = error
  return new AttncError(code, kind, message, { cause, suggestions: adviceOf(fitting) })
}

const adviceOf = (fitting: number): string[] => [
  fitting < 1
    ? 'Not even one token fits: use --batch 1, or a machine with more memory.'
    : `About ${fitting.toLocaleString('en')} tokens fit: --sequence-length ${fitting}.`,
]

/** Bytes by the number of tokens: sizes of inputs grow in a line with it, which two short batches tell. */
function bytesAt({ graphs, batchesAt }: Inputs): (length: number) => number {
  const [short, long] = [8, 16]
  const sizesAt = (length: number) =>
    batchesAt(length).map(({ feeds }, at) => sizesOfFeeds(graphs[at] as Graph, feeds))
  const [few, more] = [sizesAt(short), sizesAt(long)]
  return (length) =>
    graphs.reduce((sum, graph, at) => {
      const sizes = new Map(
        [...(few[at] ?? [])].map(([name, size]) => {
          const perToken = ((more[at]?.get(name) ?? size) - size) / (long - short)
          return [name, Math.round(size + perToken * (length - short))] as const
        }),
      )
      return sum + neededBytes(graph, sizes)
    }, 0)
}

/** What a run takes at sizes of its inputs' symbols. */
function neededBytes(graph: Graph, sizes: ReadonlyMap<string, number>): number {
  const { peakBytes, constantBytes } = estimateMemory(graph, sizes)
  return constantBytes + ARENA * (peakBytes - constantBytes)
}

/**
 * Whether the largest of given batches fits. Error: TOO_LITTLE_MEMORY, with what would be needed
 * and how many rows fit.
 */
export function assertBatchesFit(
  { graph }: Model,
  batches: readonly Batch[],
  provider: ProviderName = 'cpu',
): void {
  const room = roomOf(provider, undefined, 1)
  const [largest] = batches.toSorted((one, other) => countFed(other) - countFed(one))
  if (!room || !largest) return
  const sizes = sizesOfFeeds(graph, largest.feeds)
  const bytes = neededBytes(graph, sizes)
  if (bytes <= room.bytes) return
  const [name = '', { dims } = { dims: [] }] = Object.entries(largest.feeds)[0] ?? []
  const rows = dims[0] ?? 1
  const axis = graph.inputs.find((input) => input.name === name)?.type?.dims?.[0]
  const neededFor = (count: number): number =>
    typeof axis === 'string' ? neededBytes(graph, new Map([...sizes, [axis, count]])) : bytes
  const fitting = longestWithin(ADVISED * room.bytes, neededFor, rows - 1)
  throw new AttncError(
    'TOO_LITTLE_MEMORY',
    'runtime',
    `A batch of ${name} [${dims.join(', ')}] needs about ${describeBytes(bytes)} of memory; ${describeBytes(room.bytes)} are free.`,
    {
      suggestions: [
        fitting < 1
          ? 'Not even one row fits: give shorter ones (--sequence-length), or take a machine with more memory.'
          : `About ${fitting.toLocaleString('en')} rows fit: --batch-size ${fitting}.`,
      ],
    },
  )
}

const countFed = ({ feeds }: Batch): number =>
  Object.values(feeds).reduce((sum, { data }) => sum + data.length, 0)

/** The largest number up to `most` that keeps within, within a twentieth and rounded down; 0 where none does. */
function longestWithin(bytes: number, needed: (length: number) => number, most: number): number {
  if (needed(1) > bytes) return 0
  let [fits, over] = [1, most + 1]
  while (over > fits * 1.05 && over - fits > 1) {
    const between = Math.round(Math.sqrt(fits * over))
    const next = Math.min(Math.max(between, fits + 1), over - 1)
    if (needed(next) <= bytes) fits = next
    else over = next
  }
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(fits)) - 1)
  return Math.floor(fits / unit) * unit
}
