/**
 * A training step that fits into the memory there is: everything is kept where that fits, else as few
 * segments as possible are computed again. Sizes are worked out from shapes before anything is opened.
 */
import { describeBytes } from '../amounts.js'
import { AttncError } from '../errors.js'
import type { Recomputation } from '../gradients/backward.js'
import { estimateMemory } from '../gradients/memory/step-memory.js'
import type { Model } from '../graph/graph.js'
import type { Room } from '../runtime/free-memory.js'
import type { Feeds } from '../runtime/session.js'
import { sizesOfFeeds } from './feeds.js'

export interface Fitted<Step> {
  readonly step: Step
  /** Share of the segments that are computed again. */
  readonly share: number
  /** What the step and what judges it need at most, by their shapes. */
  readonly bytes: number
  /** Of that what is there however few samples there are. */
  readonly fixedBytes: number
}

export interface FitInput<Step> {
  /** Without a recomputation everything is kept, in no special order. */
  readonly build: (recompute: Recomputation | undefined) => Step
  /** Of a batch; the largest where they differ. */
  readonly feeds: Feeds
  /** Bytes that are needed beside the step. */
  readonly beside?: number
  readonly room: Room | undefined
  /** What else would help, for the error: given how many samples would fit, of how many there are. */
  readonly advice: (fitting: number, samples: number) => readonly string[]
}

/** Shares that are tried are multiples of it. */
const GRAIN = 1 / 16

/** Error: TOO_LITTLE_MEMORY. */
export function fitMemory<Step extends { readonly model: Model }>(
  input: FitInput<Step>,
): Fitted<Step> {
  const { build, feeds, beside = 0, room } = input
  const fit = (step: Step, share: number, sizes: Recomputation['sizes']): Fitted<Step> => {
    const { peakBytes, fedBytes, constantBytes } = estimateMemory(step.model.graph, sizes)
    return { step, share, bytes: peakBytes + beside, fixedBytes: fedBytes + constantBytes }
  }
  const plain = build(undefined)
  const sizes = sizesOfFeeds(plain.model.graph, feeds)
  const make = (share: number) => fit(build({ share, sizes }), share, sizes)
  const most = fit(plain, 0, sizes)
  if (!room || most.bytes <= room.bytes) return most
  const least = make(1)
  if (least.bytes > room.bytes) throw tooLittle(room, most, least, input)
  // Bytes fall with the share nearly in a line; at 0 nothing is computed twice, but in a thrifty order.
  const guess = (most.bytes - room.bytes) / (most.bytes - least.bytes)
  for (let share = Math.floor(guess / GRAIN) * GRAIN; share < 1; share += GRAIN) {
    const found = make(share)
    if (found.bytes <= room.bytes) return found
  }
  return least
}

/** What to say where something is computed twice. */
export const describeFit = ({ share, bytes }: Omit<Fitted<unknown>, 'step'>): string =>
  `${(100 * share).toFixed(0)} % of the forward pass is computed twice rather than kept: a step needs about ${describeBytes(bytes)}.`

function tooLittle(
  room: Room,
  most: Fitted<unknown>,
  { bytes, fixedBytes }: Fitted<unknown>,
  { feeds, advice }: Pick<FitInput<unknown>, 'feeds' | 'advice'>,
): AttncError {
  const samples = Object.values(feeds)[0]?.dims[0] ?? 1
  const isLimit = room.source === 'limit'
  const known = isLimit
    ? `the limit is ${describeBytes(room.bytes)}`
    : `${describeBytes(room.bytes)} are free`
  const fitting = Math.floor((samples * (room.bytes - fixedBytes)) / (bytes - fixedBytes))
  return new AttncError(
    'TOO_LITTLE_MEMORY',
    'runtime',
    `A step of ${samples} samples needs about ${describeBytes(most.bytes)}, or ${describeBytes(bytes)} where everything possible is computed twice; ${known}.`,
    {
      suggestions: [
        ...advice(fitting, samples),
        isLimit
          ? 'Raise --memory-limit.'
          : 'Close what else needs memory, or name a larger --memory-limit to try all the same.',
      ],
    },
  )
}
