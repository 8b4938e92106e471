/** Whether arrays are what a model takes: there, of its shapes, of numbers, with edges between rows that exist. */
import { AttncError } from '../errors.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import type { Port } from '../runtime/session.js'
import { tokenRole } from './token-input.js'

/** Every input has an array that it can be, or can be made. Errors: INPUT_MISSING, and those of shapes and numbers. */
export function checkArrays(
  what: string,
  arrays: Readonly<Record<string, RuntimeTensor>>,
  inputs: readonly Port[],
  given: readonly Port[],
): void {
  const found = Object.entries(arrays)
    .map(([name, { dims }]) => `"${name}" [${dims}]`)
    .join(', ')
  // Mask, positions and an empty cache can be made from ids; nothing else can.
  const isMadeFromIds = given.some(
    ({ dims, dataType }) => dims.length === 2 && dataType.startsWith('int'),
  )
  for (const port of inputs) {
    const array = arrays[port.name]
    if (!array && isMadeFromIds && isAuxiliary(port)) continue
    if (!array)
      throw new AttncError(
        'INPUT_MISSING',
        'usage',
        `"${what}" has no array "${port.name}" (${port.dataType} [${port.dims}]), which the model takes; it has ${found || 'none'}.`,
        { suggestions: ['Name the arrays as the inputs that "attnc inspect" prints.'] },
      )
    checkShape(what, port, array)
    checkNumbers(what, port, array)
  }
}

/** The ends of edges are nodes that exist, and there are some. Errors: DATA_EMPTY, ROW_UNKNOWN. */
export function checkRows(
  what: string,
  inputs: readonly Port[],
  arrays: Readonly<Record<string, RuntimeTensor>>,
): void {
  for (const { name, rows } of inputs) {
    const numbers = arrays[name]
    if (rows === undefined || !numbers) continue
    const owner = inputs.find(({ dims }) => dims.includes(rows))
    const count =
      typeof rows === 'number'
        ? rows
        : arrays[owner?.name ?? '']?.dims[owner?.dims.indexOf(rows) ?? 0]
    if (count === undefined) continue
    if (numbers.data.length === 0)
      throw new AttncError('DATA_EMPTY', 'usage', `Array "${name}" of "${what}" is empty.`, {
        suggestions: ['Give a graph with at least one edge.'],
      })
    const at = Array.from(numbers.data as ArrayLike<number | bigint>, Number).find(
      (each) => each < -count || each >= count,
    )
    if (at === undefined) continue
    throw new AttncError(
      'ROW_UNKNOWN',
      'usage',
      `Array "${name}" of "${what}" names row ${at}, and there are ${count}, from 0 to ${count - 1}.`,
      { suggestions: ['Number the rows of this graph from 0, or give the rows that are missing.'] },
    )
  }
}

const isAuxiliary = ({ name, dims }: Port): boolean =>
  tokenRole(name) !== 'ids' || dims.length === 4 || dims.length <= 1

function checkShape(what: string, port: Port, array: RuntimeTensor): void {
  const isRank = array.dims.length === port.dims.length || port.dims.length === 0
  const wrong = port.dims.findIndex(
    (dim, axis) => axis > 0 && typeof dim === 'number' && dim !== array.dims[axis],
  )
  if (isRank && wrong < 0) return
  throw new AttncError(
    'INPUT_SHAPE',
    'usage',
    `Array "${port.name}" of "${what}" is [${array.dims}]; the model takes [${port.dims}].`,
    { suggestions: ['Reshape the array, or give data made for this model.'] },
  )
}

/** NaN is a mistake; infinity is how additive masks say no. */
function checkNumbers(what: string, port: Port, { dataType, data }: RuntimeTensor): void {
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return
  const nan = data.findIndex(Number.isNaN)
  if (nan >= 0)
    throw new AttncError(
      'DATA_NOT_A_NUMBER',
      'usage',
      `Array "${port.name}" of "${what}" holds NaN, first at element ${nan}.`,
      { suggestions: ['Leave out the samples that hold NaN.'] },
    )
  const isWhole = /^u?int|^bool/.test(port.dataType)
  const broken = isWhole ? data.findIndex((each) => !Number.isInteger(each)) : -1
  if (broken >= 0)
    throw new AttncError(
      'INPUT_TYPE',
      'usage',
      `Array "${port.name}" of "${what}" is ${dataType} and holds ${data[broken]}; the model takes ${port.dataType}.`,
      { suggestions: ['Give whole numbers for this input.'] },
    )
}

/** Labels that are not as many as samples would be left out like any other array. Error: INPUT_SHAPE. */
export function checkLabelCount(
  what: string,
  { labels, ...arrays }: Readonly<Record<string, RuntimeTensor>>,
  inputs: ReadonlySet<string>,
  first: Port | undefined,
): void {
  const rows = first && samplesIn(arrays[first.name], first)
  if (!labels || inputs.has('labels') || labels.dims[0] === rows) return
  throw new AttncError(
    'INPUT_SHAPE',
    'usage',
    `Array "labels" of "${what}" is [${labels.dims}], "${first?.name}" has ${rows} samples.`,
    { suggestions: ['Give one label for each sample, or leave "labels" out.'] },
  )
}

/** How many samples an array holds, of an input that may have several rows for each. */
export const samplesIn = (array: RuntimeTensor | undefined, port: Port | undefined): number =>
  Math.floor((array?.dims[0] ?? 0) / (port?.perSample ?? 1))
