/** One run's worth of data: feeds by input name, and what belongs to the samples beside them. */
import { AttncError } from '../errors.js'
import { type RuntimeTensor, tensorOf, zeros } from '../onnx/numbers.js'
import type { Feeds, Port } from '../runtime/session.js'
import { type TokenRole, tokenRole } from './token-input.js'

/** Samples that run together. */
export interface Batch {
  readonly feeds: Feeds
  /** 1 for a real token, 0 for padding: [batch, sequence]; undefined where data isn't tokens. */
  readonly tokenMask: RuntimeTensor | undefined
  /** The same for each input of tokens by its name: a decoder's are padded on their own. */
  readonly tokenMasks?: Readonly<Record<string, RuntimeTensor>>
  /** Ids as fed, row by row without padding; empty where data isn't tokens. */
  readonly ids: readonly (readonly number[])[]
  /** The model takes so many samples at once, no fewer and no more: batches are neither split nor put together. */
  readonly isWhole?: boolean
  /** Arrays that are no inputs (labels, candidates …), the same samples. */
  readonly extras?: Readonly<Record<string, RuntimeTensor>>
}

/** Rows of ids, padded at the right to the longest; other inputs are made as hosts make them. */
export function makeTokenBatch(
  rows: readonly (readonly number[])[],
  inputs: readonly Port[],
): Batch {
  const fixed = inputs.find(
    ({ dims, dataType }) => dims.length === 2 && !isFloat(dataType) && typeof dims[1] === 'number',
  )
  const longest = rows.reduce((top, row) => Math.max(top, row.length), 0)
  const length = fixed ? (fixed.dims[1] as number) : longest
  const dims = [rows.length, length]
  const zerosOfAll = (): Float64Array => new Float64Array(rows.length * length)
  const fills: Fills = {
    ids: zerosOfAll(),
    mask: zerosOfAll(),
    positions: zerosOfAll(),
    segments: zerosOfAll(),
  }
  const places = Float64Array.from({ length }, (_, i) => i)
  for (const [at, row] of rows.entries()) {
    const from = at * length
    fills.ids.set(row.slice(0, length), from)
    fills.mask.fill(1, from, from + Math.min(row.length, length))
    fills.positions.set(places, from)
  }
  const feeds: Record<string, RuntimeTensor> = {}
  for (const port of inputs) feeds[port.name] = fillPort(port, dims, fills)
  const tokenMask = tensorOf('float32', dims, fills.mask)
  const tokenMasks = Object.fromEntries(
    inputs
      .filter(isTokens)
      .map((port) => [port.name, fillPort({ ...port, ...asMask }, dims, fills)]),
  )
  return { feeds, tokenMask, tokenMasks, ids: rows }
}

/** [batch, sequence] of whole numbers. */
export const isTokens = ({ dims, dataType }: Port): boolean =>
  dims.length === 2 && dataType.startsWith('int')

/** [batch, channels, height, width] of open sides. */
export const isPicturePort = ({ dims, dataType }: Port): boolean =>
  isFloat(dataType) &&
  dims.length > 3 &&
  typeof dims[1] === 'number' &&
  dims.slice(2).filter(isOpen).length > 1

const isOpen = (dim: number | string): boolean => typeof dim === 'string'

/** [batch, heads, past, head size] of open length; features of pairs have two axes of one length. */
export const isCachePort = (port: Port): boolean => isLikeCache(port) && !isPicturePort(port)

const isLikeCache = ({ dims, dataType }: Port): boolean =>
  dims.length === 4 &&
  isFloat(dataType) &&
  dims.some((dim) => typeof dim !== 'number') &&
  (typeof dims[1] === 'number' || dims[1] === '' || dims[1] !== dims[2])

/** The first input that has samples: a number alone, as of a step or a mode, has none. */
export const leadingPort = <Given extends Pick<Port, 'dims'>>(
  inputs: readonly Given[],
): Given | undefined => inputs.find(({ dims }) => dims.length > 0) ?? inputs[0]

/** Caches beside embeddings, [batch, sequence, hidden]: two or more of one open length that embeddings don't have. */
export function cachesBesideEmbeddings(inputs: readonly Port[]): ReadonlySet<Port> {
  const embeddings = inputs.filter(({ dims, dataType }) => dims.length === 3 && isFloat(dataType))
  const found = inputs.filter(
    (port) =>
      isCachePort(port) &&
      typeof port.dims[2] === 'string' &&
      typeof port.dims[3] === 'number' &&
      embeddings.length > 0 &&
      embeddings.every(({ dims }) => dims[1] !== port.dims[2]) &&
      inputs.filter(({ dims }) => dims.length === 4 && dims[2] === port.dims[2]).length > 1,
  )
  return new Set(found)
}

export const emptyCache = ({ dims, dataType }: Port, rows: number): RuntimeTensor =>
  zeros(
    dataType,
    dims.map((dim, axis) => (axis === 0 ? rows : typeof dim === 'number' ? dim : 0)),
  )

/** What says whether there is a cache to go on from, in models that hold both ways. */
export const isSwitch = ({ dims, dataType }: Port): boolean =>
  dims.length <= 1 && dataType === 'bool'

export const switchAtStart = ({ dims, atStart = 0 }: Port): RuntimeTensor =>
  tensorOf(
    'bool',
    dims.map(() => 1),
    [atStart],
  )

/** A mask in the place of ids. */
const asMask = { name: 'mask', dataType: 'float32' } as const

const isFloat = (dataType: Port['dataType']): boolean => /^b?float/.test(dataType)

type Fills = Readonly<Record<TokenRole, Float64Array>>

function fillPort(port: Port, dims: readonly number[], fills: Fills): RuntimeTensor {
  const { name, dataType } = port
  const role = tokenRole(name)
  if (port.dims.length === 2 && (!isFloat(dataType) || role === 'mask')) {
    const [, stated] = port.dims
    const [rows = 0, length = 0] = dims
    const own = typeof stated === 'number' ? stated : length
    return tensorOf(dataType, [rows, own], fitRows(fills[role], length, own))
  }
  // A cache that is still empty.
  if (isCachePort(port)) return emptyCache(port, dims[0] as number)
  if (isSwitch(port)) return switchAtStart(port)
  throw new AttncError(
    'INPUT_UNKNOWN',
    'usage',
    `Input "${name}" (${dataType} [${port.dims}]) can't be made from text.`,
    { suggestions: ['Give the data as arrays: an .npz with one array for each input.'] },
  )
}

/** Rows of another length, for inputs that are not as long as the others: cut, or padded with zeros. */
function fitRows(numbers: Float64Array, from: number, to: number): Float64Array {
  if (from === to) return numbers
  const rows = numbers.length / from
  const fitted = new Float64Array(rows * to)
  for (let row = 0; row < rows; row++)
    fitted.set(numbers.subarray(row * from, row * from + Math.min(from, to)), row * to)
  return fitted
}

/** Samples [from, to) of what has samples first. */
export function rowsOf(tensor: RuntimeTensor, from: number, to: number): RuntimeTensor {
  const each = tensor.data.length / (tensor.dims[0] || 1)
  return {
    dataType: tensor.dataType,
    dims: [to - from, ...tensor.dims.slice(1)],
    data: tensor.data.slice(from * each, to * each) as RuntimeTensor['data'],
  }
}
