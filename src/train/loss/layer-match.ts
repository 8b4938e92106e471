/**
 * Which layer of the student is to become like which of the teacher (CoFi, Xia et al. 2022, §3.3): of
 * every fourth of the teacher's depth its last layer, each with the student's layer whose stream is
 * closest on a batch, from the top down and never across each other. CoFi's linear map between the two
 * is left out: channels keep their meaning, so it would begin, and stay near, the identity.
 */
import type { Batch } from '../../data/batch.js'
import { AttncError } from '../../errors.js'
import { extractSubgraph } from '../../graph/extract.js'
import type { Model, Value } from '../../graph/graph.js'
import { findBlocks } from '../../model/block.js'
import { readModel } from '../../model/model.js'
import { numbersOf, type RuntimeTensor } from '../../onnx/numbers.js'
import { type RunOptions, runBatches } from '../../runtime/batches.js'

/** Names of the streams after two layers. */
export interface LayerPair {
  readonly student: string
  readonly teacher: string
}

/** Errors: HIDDEN_UNKNOWN, HIDDEN_WIDTH. */
export async function matchLayers(
  student: Model,
  teacher: Model,
  batch: Batch,
  options: RunOptions,
): Promise<LayerPair[]> {
  const [own, wanted] = [
    await runStreams(student, findStreams(student), batch, options),
    await runStreams(teacher, quarters(findStreams(teacher)), batch, options),
  ]
  const widths = [...own, ...wanted].map(({ tensor }) => tensor.dims.at(-1))
  if (new Set(widths).size > 1)
    throw new AttncError(
      'HIDDEN_WIDTH',
      'usage',
      `Hidden states can be matched where they are as wide: the streams have ${[...new Set(widths)].join(' and ')} channels.`,
      {
        suggestions: [
          'Leave hidden states out; the answers of the teacher are learned all the same.',
        ],
      },
    )
  const distances = wanted.map(({ tensor }) => own.map((each) => distance(each.tensor, tensor)))
  const order = pairFromTop(distances)
  return order.map((index, at) => ({
    student: own[index]?.name as string,
    teacher: wanted[at]?.name as string,
  }))
}

/** For each row the column that is nearest, from the last row up, each column at or before the one above. */
export function pairFromTop(distances: readonly (readonly number[])[]): number[] {
  let last = (distances[0]?.length ?? 1) - 1
  return distances
    .toReversed()
    .map((row) => {
      const open = row.slice(0, last + 1)
      last = open.indexOf(Math.min(...open))
      return last
    })
    .toReversed()
}

/** The streams after each layer, in order of execution. */
function findStreams(model: Model): Value[] {
  const last = new Map<number, Value>()
  for (const { layer, stream } of findBlocks(readModel(model.graph)))
    if (stream) last.set(layer, stream)
  if (last.size > 0) return [...last.values()]
  throw new AttncError(
    'HIDDEN_UNKNOWN',
    'model',
    'The model has no layers whose hidden states could be told.',
    {
      suggestions: [
        'Leave hidden states out; the answers of the teacher are learned all the same.',
      ],
    },
  )
}

const quarters = (streams: readonly Value[]): Value[] => {
  const count = Math.min(4, streams.length)
  return Array.from(
    { length: count },
    (_, index) => streams[Math.round(((index + 1) * streams.length) / count) - 1] as Value,
  )
}

async function runStreams(
  model: Model,
  streams: readonly Value[],
  batch: Batch,
  options: RunOptions,
): Promise<{ readonly name: string; readonly tensor: RuntimeTensor }[]> {
  const part = extractSubgraph(model.graph, new Map(), streams)
  const found: { name: string; tensor: RuntimeTensor }[] = []
  await runBatches(part, [batch], options, undefined, (results) => {
    for (const { name } of streams) found.push({ name, tensor: results[name] as RuntimeTensor })
  })
  return found
}

function distance(one: RuntimeTensor, other: RuntimeTensor): number {
  const [a, b] = [numbersOf(one), numbersOf(other)]
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += ((a[i] as number) - (b[i] as number)) ** 2
  return sum
}
