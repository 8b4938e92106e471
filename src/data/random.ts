/** Seeded inputs of the declared types, for when there is no data: only when asked for. */
import { AttncError } from '../errors.js'
import { type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import type { Port } from '../runtime/session.js'
import { areGraphs } from './addressed-rows.js'
import {
  type Batch,
  cachesBesideEmbeddings,
  emptyCache,
  isCachePort,
  isPicturePort,
  isSwitch,
  leadingPort,
  makeTokenBatch,
  switchAtStart,
} from './batch.js'
import { generator } from './generator.js'
import { tokenRole } from './token-input.js'

export interface RandomOptions {
  readonly inputs: readonly Port[]
  readonly sequenceLength: number
  readonly batchSize: number
  readonly samples: number
  readonly vocabulary?: number | undefined
  readonly seed: number
}

/** Sides of pictures that models are made for. */
const sides = [224, 32, 64, 256, 384, 512, 336, 448, 518, 640, 128, 16, 28]

/** Numbers that an input drawn by chance may hold: more is no trial but a machine that stops. */
const MOST = 2 ** 25

/** Lengths to try, of those given or of pictures' sides where inputs are such, as far as samples of them can be held. */
export function lengthsToTry(
  inputs: readonly Port[],
  given: readonly number[],
  rows: number,
): number[] {
  const isHeld = (length: number): boolean =>
    inputs.every((port) => elementCount(sizesOf(port, inputs, rows, length)) <= MOST)
  return (inputs.some(isPicturePort) ? sides : given).filter(isHeld)
}

/** Tokens beside pictures: texts that go with them are short. */
const BESIDE_PICTURES = 16

function sizesOf(port: Port, all: readonly Port[], rows: number, length: number): number[] {
  const isBeside = !isPicturePort(port) && all.some(isPicturePort)
  const open = isBeside ? Math.min(length, BESIDE_PICTURES) : length
  const own = rows * (port.perSample ?? 1)
  const samples = leadingPort(all)?.dims[0]
  return port.dims.map((dim, axis) => {
    if (typeof dim === 'number') return dim
    if (axis === 0) return own
    // States of recurrences have their samples behind an axis of layers.
    return dim !== '' && dim === samples ? rows : open
  })
}

/** How many rows may be drawn together: pairs of pairs of nodes are many numbers each. */
export const mostRows = (inputs: readonly Port[], length: number): number =>
  Math.max(
    1,
    Math.floor(
      MOST / Math.max(1, ...inputs.map((port) => elementCount(sizesOf(port, inputs, 1, length)))),
    ),
  )

/** Error: INPUT_TOO_LARGE. */
function assertDrawable(inputs: readonly Port[], rows: number, length: number): void {
  for (const port of inputs) {
    if (isCachePort(port)) continue
    const sizes = sizesOf(port, inputs, rows, length)
    if (elementCount(sizes) <= 2 * MOST) continue
    throw new AttncError(
      'INPUT_TOO_LARGE',
      'usage',
      `Input "${port.name}" would be drawn as [${sizes}], which is more than memory should hold.`,
      { suggestions: ['Name a smaller --sequence-length, fewer rows, or data of your own.'] },
    )
  }
}

/** Tokens where the inputs are tokens, normal numbers elsewhere. Error: INPUT_TOO_LARGE. */
export function randomBatches(options: RandomOptions): Batch[] {
  const { inputs, batchSize, samples, sequenceLength, vocabulary = 2 } = options
  const next = generator(options.seed)
  if (areGraphs(inputs)) return randomGraphs(options)
  const isTokens = areTokens(inputs)
  const fixed = leadingPort(inputs)?.dims[0]
  const rows = typeof fixed === 'number' ? fixed : Math.min(batchSize, samples)
  assertDrawable(inputs, rows, sequenceLength)
  const batches: Batch[] = []
  const ids = inputs.find((port) => port.dims.length === 2 && tokenRole(port.name) === 'ids')
  const known = Math.min(vocabulary, ids?.choices ?? vocabulary)
  for (let at = 0; at < samples; at += rows) {
    if (isTokens) {
      const drawn = Array.from({ length: rows }, () =>
        Array.from({ length: sequenceLength }, () => Math.floor(next() * known)),
      )
      batches.push(makeTokenBatch(drawn, inputs))
      continue
    }
    const feeds: Record<string, RuntimeTensor> = {}
    const hasWays = inputs.some(isSwitch)
    const caches = cachesBesideEmbeddings(inputs)
    for (const port of inputs) {
      if (caches.has(port) || (hasWays && (isSwitch(port) || isCachePort(port)))) {
        feeds[port.name] = isSwitch(port) ? switchAtStart(port) : emptyCache(port, rows)
        continue
      }
      const dims = sizesOf(port, inputs, rows, sequenceLength)
      const isFloat = port.dataType.startsWith('float') || port.dataType === 'bfloat16'
      const isLength = isLengthOfRows(port, inputs)
      const draw = (): number => {
        if (port.isMask) return 1
        if (isLength) return sequenceLength
        return isFloat ? normal(next) : Math.floor(next() * (port.choices ?? 2))
      }
      const numbers = Array.from({ length: elementCount(dims) }, draw)
      feeds[port.name] = tensorOf(port.dataType, dims, numbers)
    }
    batches.push({ feeds, tokenMask: undefined, ids: [] })
  }
  return batches
}

/**
 * Whether a port may say how long each row is: a whole number for a row, which chooses from no table, beside rows of
 * open length. A row without positions would be a mean or a softmax over nothing.
 */
const isLengthOfRows = (port: Port, inputs: readonly Port[]): boolean =>
  /^int(32|64)$/.test(port.dataType) &&
  port.dims.length === 1 &&
  port.choices === undefined &&
  inputs.some(
    ({ dims }) => dims.length > 1 && dims[0] === port.dims[0] && dims.slice(1).some(isOpen),
  )

const isOpen = (dim: number | string): boolean => typeof dim === 'string'

/** Edges of a node, in the mean. */
const EDGES = 4

/** Graphs, one a batch: as many nodes and edges as names say alike, ends that exist. */
function randomGraphs({ inputs, samples, sequenceLength, seed }: RandomOptions): Batch[] {
  const next = generator(seed)
  const nodes = new Set(inputs.map(({ rows }) => rows))
  const batches: Batch[] = []
  for (let at = 0; at < samples; at++) {
    const sizeOf = (dim: number | string): number =>
      typeof dim === 'number'
        ? dim
        : nodes.has(dim)
          ? Math.max(2, Math.ceil(sequenceLength / EDGES))
          : sequenceLength
    const feeds = inputs.map(({ name, dataType, dims, rows, choices = 2 }) => {
      const sizes = dims.map(sizeOf)
      const isFloat = dataType.startsWith('float') || dataType === 'bfloat16'
      const below = rows === undefined ? choices : sizeOf(rows)
      const draw = (): number => (isFloat ? normal(next) : Math.floor(next() * below))
      const numbers = Array.from({ length: elementCount(sizes) }, draw)
      return [name, tensorOf(dataType, sizes, numbers)] as const
    })
    batches.push({ feeds: Object.fromEntries(feeds), tokenMask: undefined, ids: [] })
  }
  return batches
}

/** Whether inputs are tokens and what hosts feed beside them: masks, an empty cache, a switch. */
export function areTokens(inputs: readonly Port[]): boolean {
  if (areGraphs(inputs) || inputs.some(({ perSample }) => perSample !== undefined)) return false
  const isRow = ({ dims, dataType }: Port): boolean =>
    dims.length === 2 && dataType.startsWith('int')
  const isBeside = (port: Port): boolean => isCachePort(port) || port.dataType === 'bool'
  // Pictures have four axes too, but no tokens beside them.
  return inputs.some(isRow) && inputs.every((port) => isRow(port) || isBeside(port))
}

/** Box–Muller. */
const normal = (next: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
