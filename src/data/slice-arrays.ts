/**
 * Batches from arrays that hold all samples: checked against the inputs, cut along their first
 * axis, and what can be made is made.
 */
import { AttncError } from '../errors.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import type { Feeds, Port } from '../runtime/session.js'
import { areGraphs } from './addressed-rows.js'
import { type Batch, isTokens, makeTokenBatch, rowsOf } from './batch.js'
import { checkArrays, checkLabelCount, checkRows, samplesIn } from './check-arrays.js'
import { tokenRole } from './token-input.js'

/**
 * Batches: the first axis is samples, or all is one graph. Errors: INPUT_MISSING, INPUT_SHAPE, INPUT_TYPE,
 * DATA_EMPTY, DATA_NOT_A_NUMBER.
 */
export function sliceArrays(
  arrays: Readonly<Record<string, RuntimeTensor>>,
  inputs: readonly Port[],
  options: {
    readonly what: string
    readonly batchSize: number
    readonly samples?: number | undefined
  },
): Batch[] {
  const { what } = options
  const given = inputs.filter(({ name }) => arrays[name])
  checkArrays(what, arrays, inputs, given)
  if (areGraphs(inputs)) {
    checkRows(what, inputs, arrays)
    return [oneGraph(arrays, inputs)]
  }
  const leading = given.find(({ name }) => isRows(arrays[name])) ?? given[0]
  const first = arrays[leading?.name ?? '']
  const stated = leading?.dims[0]
  const size = typeof stated === 'number' ? stated : options.batchSize
  const held = samplesIn(first, leading)
  const count = Math.min(held, options.samples ?? Number.POSITIVE_INFINITY)
  if (count === 0)
    throw new AttncError('DATA_EMPTY', 'usage', `"${what}" holds no samples.`, {
      suggestions: ['Give arrays whose first axis is at least 1.'],
    })
  const whole = findWhole(what, given, arrays, leading)
  checkLabelCount(what, arrays, new Set(inputs.map(({ name }) => name)), leading)
  const batches: Batch[] = []
  for (let at = 0; at < count; at += size) {
    const to = Math.min(at + size, count)
    batches.push(batchOf(arrays, inputs, { at, to, whole, samples: held }))
  }
  return batches
}

/** Samples from `at` to before `to`. */
function batchOf(
  arrays: Readonly<Record<string, RuntimeTensor>>,
  inputs: readonly Port[],
  cut: {
    readonly at: number
    readonly to: number
    /** Inputs that are fed as they are. */
    readonly whole: ReadonlySet<string>
    /** Samples of all batches; arrays that are no inputs and have as many go along. */
    readonly samples: number | undefined
  },
): Batch {
  const { at, to, whole, samples } = cut
  const feeds: Record<string, RuntimeTensor> = {}
  const missing: Port[] = []
  for (const port of inputs) {
    const array = arrays[port.name]
    if (!array) missing.push(port)
    else {
      const { perSample = 1 } = port
      const own = whole.has(port.name) ? array : rowsOf(array, at * perSample, to * perSample)
      feeds[port.name] = castTo(own, port.dataType)
    }
  }
  if (missing.length > 0) {
    const given = inputs.filter(({ name }) => arrays[name])
    Object.assign(feeds, makeTokenBatch(tokensOf(feeds, given).ids, missing).feeds)
  }
  const names = new Set(inputs.map(({ name }) => name))
  const extras = Object.fromEntries(
    Object.entries(arrays)
      .filter(([name, { dims }]) => !names.has(name) && dims[0] === samples)
      .map(([name, array]) => [name, rowsOf(array, at, to)]),
  )
  return { feeds, extras, ...tokensOf(feeds, inputs) }
}

/** Nodes and edges of a graph belong together: arrays of one, or of several with ends that tell them apart. */
function oneGraph(arrays: Readonly<Record<string, RuntimeTensor>>, inputs: readonly Port[]): Batch {
  const names = new Map(inputs.map(({ name, dataType }) => [name, dataType]))
  const feeds: Record<string, RuntimeTensor> = {}
  const extras: Record<string, RuntimeTensor> = {}
  for (const [name, array] of Object.entries(arrays)) {
    const type = names.get(name)
    if (type) feeds[name] = castTo(array, type)
    else extras[name] = array
  }
  return { feeds, extras, tokenMask: undefined, ids: [] }
}

/** A number alone, as of a step or a mode, has no samples. */
const isRows = (array: RuntimeTensor | undefined): boolean => (array?.dims.length ?? 0) > 0

/**
 * Inputs that are no samples: single numbers, or of another first axis than the first input, and
 * fed whole each time.
 */
function findWhole(
  what: string,
  given: readonly Port[],
  arrays: Readonly<Record<string, RuntimeTensor>>,
  first: Port | undefined,
): Set<string> {
  const rows = first && samplesIn(arrays[first.name], first)
  const others = given.filter((port) => {
    const array = arrays[port.name]
    return !isRows(array) || samplesIn(array, port) !== rows
  })
  for (const { name, dims } of others)
    if (first && dims[0] === first.dims[0] && typeof dims[0] === 'string')
      throw new AttncError(
        'INPUT_SHAPE',
        'usage',
        `Array "${name}" of "${what}" has ${arrays[name]?.dims[0]} samples, "${first.name}" has ${rows}.`,
        { suggestions: ['Give arrays whose first axes are samples, as many in each.'] },
      )
  return new Set(others.map(({ name }) => name))
}

/** The mask and the ids, where an input is [batch, sequence] of whole numbers. */
function tokensOf(
  feeds: Feeds,
  inputs: readonly Port[],
): Pick<Batch, 'tokenMask' | 'tokenMasks' | 'ids'> {
  const flat = inputs.filter(isTokens)
  const ids = flat.find(({ name }) => tokenRole(name) === 'ids')
  const mask = flat.find(({ name }) => tokenRole(name) === 'mask')
  const tokens = ids && feeds[ids.name]
  const kept = mask && feeds[mask.name]
  // Features of frames come with a mask and without ids.
  const tokenMasks = masksOf(feeds, flat)
  if (!tokens) return { tokenMask: kept && castTo(kept, 'float32'), tokenMasks, ids: [] }
  const [rows = 0, length = 0] = tokens.dims
  const isKept = Array.from({ length: rows * length }, (_, i) => (kept ? Number(kept.data[i]) : 1))
  return {
    tokenMask: tensorOf('float32', tokens.dims, isKept),
    tokenMasks,
    ids: Array.from({ length: rows }, (_, row) =>
      Array.from({ length }, (_, i) => row * length + i)
        .filter((at) => isKept[at])
        .map((at) => Number(tokens.data[at])),
    ),
  }
}

/** Masks among the inputs, by the name of every input that has the same length. */
function masksOf(feeds: Feeds, flat: readonly Port[]): Record<string, RuntimeTensor> {
  return Object.fromEntries(
    flat.flatMap(({ name, dims }) => {
      const mask = flat.find((each) => tokenRole(each.name) === 'mask' && each.dims[1] === dims[1])
      const fed = mask && feeds[mask.name]
      return fed ? [[name, castTo(fed, 'float32')]] : []
    }),
  )
}

function castTo(tensor: RuntimeTensor, dataType: Port['dataType']): RuntimeTensor {
  if (tensor.dataType === dataType) return tensor
  return tensorOf(dataType, tensor.dims, numbersOf(tensor))
}
