/** Which samples make the batch of each step: seeded, so that a run that goes on sees what it would have. */
import { type Batch, rowsOf } from '../data/batch.js'
import { generator } from '../data/generator.js'
import type { RuntimeTensor } from '../onnx/numbers.js'

/** Batch number `index` of an endless sequence of epochs, each in an order of its own. */
export type Sampler = (index: number) => Batch

/**
 * Samples are mixed over all batches where their shapes agree; else whole batches are. A batch that is
 * smaller than the others is left out of an epoch unless it is the only one.
 */
export function sampler(batches: readonly Batch[], batchSize: number, seed: number): Sampler {
  const isMixed = canMix(batches)
  const units = isMixed ? batches.flatMap(splitRows) : batches
  const size = isMixed ? Math.min(batchSize, units.length) : 1
  const perEpoch = Math.max(Math.floor(units.length / size), 1)
  return (index) => {
    const order = shuffled(units.length, seed + Math.floor(index / perEpoch))
    const from = (index % perEpoch) * size
    return stack(order.slice(from, from + size).map((unit) => units[unit] as Batch))
  }
}

/** Single samples where all have one shape; else batches as they are. */
export const samplesOf = (batches: readonly Batch[]): readonly Batch[] =>
  canMix(batches) ? batches.flatMap(splitRows) : batches

function shuffled(count: number, seed: number): number[] {
  const random = generator(seed)
  const order = Array.from({ length: count }, (_, index) => index)
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const held = order[i] as number
    order[i] = order[j] as number
    order[j] = held
  }
  return order
}

/** What chooses a branch of a merged decoder is said once for all samples. */
const isShared = ({ dataType, dims }: RuntimeTensor): boolean =>
  dataType === 'bool' && dims.length <= 1 && (dims[0] ?? 1) === 1

/** Arrays of one row a sample. */
const arraysOf = ({ feeds, extras, tokenMask }: Batch): [string, RuntimeTensor][] =>
  [
    ...Object.entries(feeds),
    ...Object.entries(extras ?? {}),
    ...(tokenMask ? ([['mask', tokenMask]] as [string, RuntimeTensor][]) : []),
  ].filter(([, each]) => !isShared(each))

const sharedOf = ({ feeds }: Batch): string =>
  JSON.stringify(
    Object.entries(feeds).flatMap(([name, each]) => (isShared(each) ? [[name, ...each.data]] : [])),
    (_, each) => (typeof each === 'bigint' ? String(each) : each),
  )

/**
 * Whether every array has one row a sample, the rows of all batches have one shape, and the model
 * takes any number of them.
 */
export function canMix(batches: readonly Batch[]): boolean {
  const [first] = batches
  if (!first || batches.some(({ isWhole }) => isWhole)) return false
  const shared = sharedOf(first)
  const shapes = JSON.stringify(arraysOf(first).map(([name, { dims }]) => [name, dims.slice(1)]))
  return batches.every((batch) => {
    const arrays = arraysOf(batch)
    const rows = arrays[0]?.[1].dims[0]
    const own = JSON.stringify(arrays.map(([name, { dims }]) => [name, dims.slice(1)]))
    const isAlike = own === shapes && sharedOf(batch) === shared
    return isAlike && arrays.every(([, { dims }]) => dims.length > 0 && dims[0] === rows)
  })
}

function splitRows(batch: Batch): Batch[] {
  const rows = arraysOf(batch)[0]?.[1].dims[0] ?? 0
  const cut = (arrays: Readonly<Record<string, RuntimeTensor>>, row: number) =>
    Object.fromEntries(
      Object.entries(arrays).map(([name, each]) => [
        name,
        isShared(each) ? each : rowsOf(each, row, row + 1),
      ]),
    )
  return Array.from({ length: rows }, (_, row) => ({
    feeds: cut(batch.feeds, row),
    extras: cut(batch.extras ?? {}, row),
    tokenMask: batch.tokenMask && rowsOf(batch.tokenMask, row, row + 1),
    ids: batch.ids.slice(row, row + 1),
  }))
}

/** Samples as one batch. */
export function stack(samples: readonly Batch[]): Batch {
  const [first] = samples
  if (!first || samples.length === 1) return first as Batch
  const join = (read: (batch: Batch) => RuntimeTensor | undefined): RuntimeTensor | undefined => {
    const parts = samples.flatMap((each) => read(each) ?? [])
    const [one] = parts
    return one && (isShared(one) ? one : concatenate(parts))
  }
  const all = (read: (batch: Batch) => Readonly<Record<string, RuntimeTensor>>) =>
    Object.fromEntries(
      Object.keys(read(first)).map((name) => [name, join((each) => read(each)[name])]),
    ) as Record<string, RuntimeTensor>
  return {
    feeds: all(({ feeds }) => feeds),
    extras: all(({ extras }) => extras ?? {}),
    tokenMask: join(({ tokenMask }) => tokenMask),
    ids: samples.flatMap(({ ids }) => ids),
  }
}

function concatenate(parts: readonly RuntimeTensor[]): RuntimeTensor {
  const [first] = parts as [RuntimeTensor]
  const data = first.data.slice()
  const Type = data.constructor as new (length: number) => RuntimeTensor['data']
  const whole = new Type(parts.reduce((sum, each) => sum + each.data.length, 0))
  let at = 0
  for (const { data: own } of parts) {
    whole.set(own as never, at)
    at += own.length
  }
  const rows = parts.reduce((sum, { dims }) => sum + (dims[0] ?? 0), 0)
  return { dataType: first.dataType, dims: [rows, ...first.dims.slice(1)], data: whole }
}
