/**
 * A training step that fits into the memory there is: everything is kept where that fits, else as few
 * segments as possible are computed again. Sizes are worked out from shapes before anything is opened.
 */
import { spawnSync } from 'node:child_process'
import { describeBytes } from '../amounts.js'
import { AttncError } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import type { ProviderName } from '../runtime/provider.js'
import type { Feeds } from '../runtime/session.js'
import { estimateMemory } from './step-memory.js'
import { TEACHER } from './teacher.js'
import type { TrainingGraph } from './training-graph.js'

export interface Room {
  readonly bytes: number
  /** Where the number comes from, for the error. */
  readonly source: 'limit' | 'free'
}

export interface Fitted {
  readonly step: TrainingGraph
  /** Share of the segments that are computed again. */
  readonly share: number
  /** What the step and what judges it need at most, by their shapes. */
  readonly bytes: number
  /** Of that what is there however few samples there are. */
  readonly fixedBytes: number
}

export interface FitInput {
  /** A share of undefined keeps everything, in no special order. */
  readonly build: (share: number | undefined) => TrainingGraph
  readonly sizes: ReadonlyMap<string, number>
  /** Bytes that are needed beside the step. */
  readonly beside: number
  readonly room: Room | undefined
  readonly samples: number
}

/** Shares that are tried are multiples of it. */
const GRAIN = 1 / 16

/** Error: TOO_LITTLE_MEMORY. */
export function fitMemory({ build, sizes, beside, room, samples }: FitInput): Fitted {
  const make = (share: number | undefined): Fitted => {
    const step = build(share)
    const { peakBytes, fedBytes, constantBytes } = estimateMemory(step.model.graph, sizes)
    const fixedBytes = fedBytes + constantBytes
    return { step, share: share ?? 0, bytes: peakBytes + beside, fixedBytes }
  }
  const most = make(undefined)
  if (!room || most.bytes <= room.bytes) return most
  const least = make(1)
  if (least.bytes > room.bytes) throw tooLittle(room, most, least, samples)
  // Bytes fall with the share nearly in a line; at 0 nothing is computed twice, but in a thrifty order.
  const guess = (most.bytes - room.bytes) / (most.bytes - least.bytes)
  for (let share = Math.floor(guess / GRAIN) * GRAIN; share < 1; share += GRAIN) {
    const found = make(share)
    if (found.bytes <= room.bytes) return found
  }
  return least
}

function tooLittle(room: Room, most: Fitted, least: Fitted, samples: number): AttncError {
  const known =
    room.source === 'limit'
      ? `the limit is ${describeBytes(room.bytes)}`
      : `${describeBytes(room.bytes)} are free`
  const { bytes, fixedBytes } = least
  const fitting = Math.floor((samples * (room.bytes - fixedBytes)) / (bytes - fixedBytes))
  return new AttncError(
    'TOO_LITTLE_MEMORY',
    'runtime',
    `A step of ${samples} samples needs about ${describeBytes(most.bytes)}, or ${describeBytes(least.bytes)} where everything possible is computed twice; ${known}.`,
    {
      suggestions: [
        fitting >= 1
          ? `Take fewer samples at once, as --batch-size ${fitting}, and make up for it with --accumulate ${Math.ceil(samples / fitting)}.`
          : 'Take shorter samples (--sequence-length).',
        'Train low-rank updates instead of all weights (--method lora), or fewer roles.',
        room.source === 'limit'
          ? 'Raise --memory-limit.'
          : 'Close what else needs memory, or name a larger --memory-limit to try all the same.',
      ],
    },
  )
}

/** What may be used without being asked: nine tenths of what is free; undefined where nobody says. */
export function freeRoom(provider: ProviderName): Room | undefined {
  const free = provider === 'cpu' ? process.availableMemory() : freeOnDevice()
  return free === undefined ? undefined : { bytes: 0.9 * free, source: 'free' }
}

/** Of the first GPU, which is the one that sessions take. */
function freeOnDevice(): number | undefined {
  const query = ['--query-gpu=memory.free', '--format=csv,noheader,nounits', '--id=0']
  const megabytes = Number.parseInt(
    spawnSync('nvidia-smi', query, { encoding: 'utf8' }).stdout ?? '',
    10,
  )
  return Number.isNaN(megabytes) ? undefined : megabytes * 2 ** 20
}

/** The sizes that a batch gives the symbols in the shapes of a graph's inputs. */
export function sizesOfFeeds({ inputs }: Graph, feeds: Feeds): Map<string, number> {
  const sizes = new Map<string, number>()
  for (const { name, type } of inputs) {
    const feed = feeds[name.startsWith(TEACHER) ? name.slice(TEACHER.length) : name]
    for (const [axis, dim] of type?.dims?.entries() ?? []) {
      const size = feed?.dims[axis]
      if (typeof dim === 'string' && size !== undefined) sizes.set(dim, size)
    }
  }
  return sizes
}
