/** Feeds that don't fit the model's inputs are refused by name before ONNX Runtime sees them. */
import { AttncError } from '../errors.js'
import type { DataType } from '../onnx/data-type.js'
import type { Port } from './worker.js'

interface Fed {
  readonly dataType: DataType
  readonly dims: readonly number[]
}

/** `carried` inputs come from the run before. Errors: INPUT_NAMES, INPUT_SHAPE. */
export function checkFeeds(
  inputs: readonly Port[],
  feeds: Readonly<Record<string, Fed>>,
  carried: readonly string[] = [],
): void {
  const known = inputs.map(({ name }) => name)
  const missing = known.filter((name) => !(name in feeds) && !carried.includes(name))
  const unknown = Object.keys(feeds).filter((name) => !known.includes(name))
  if (missing.length > 0 || unknown.length > 0)
    throw new AttncError(
      'INPUT_NAMES',
      'usage',
      `The data has ${list(Object.keys(feeds))}; the model's inputs are ${list(known)}.`,
      { suggestions: ['Name the arrays as the model names its inputs.'] },
    )
  for (const port of inputs) {
    const fed = feeds[port.name]
    if (!fed) continue
    const { dims, dataType } = fed
    const fits =
      dims.length === port.dims.length &&
      port.dims.every((dim, axis) => typeof dim !== 'number' || dim < 0 || dim === dims[axis])
    if (fits && dataType === port.dataType) continue
    throw new AttncError(
      'INPUT_SHAPE',
      'usage',
      `Input "${port.name}" is ${dataType} [${dims}] in the data; the model takes ${port.dataType} [${port.dims}].`,
      { suggestions: ['Reshape or convert the array, or give data made for this model.'] },
    )
  }
}

const list = (names: readonly string[]): string =>
  names.length === 0 ? 'nothing' : names.map((name) => `"${name}"`).join(', ')
