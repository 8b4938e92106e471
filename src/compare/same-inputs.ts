/** Two models can be measured on the same data where they take the same inputs; caches may differ in size. */
import { portsOf } from '../data/open-data.js'
import { AttncError } from '../errors.js'
import { findStates } from '../generate/states.js'
import type { Model } from '../graph/graph.js'
import type { Port } from '../runtime/session.js'

/** Error: INPUTS_DIFFER. */
export function checkSameInputs(first: Model, second: Model): void {
  const [one, other] = [ownInputs(first), ownInputs(second)]
  const isSame = (a: Port, b: Port): boolean =>
    a.dataType === b.dataType &&
    a.dims.length === b.dims.length &&
    a.dims.every((dim, axis) => {
      const size = b.dims[axis]
      return typeof dim !== 'number' || typeof size !== 'number' || dim === size
    })
  const differs =
    one.length !== other.length ||
    one.some((port) => !other.some((each) => each.name === port.name && isSame(port, each)))
  if (!differs) return
  throw new AttncError(
    'INPUTS_DIFFER',
    'usage',
    `The models take different inputs: ${list(one)}; ${list(other)}.`,
    {
      suggestions: [
        'Name the file of each folder that is meant, for instance a/model.onnx and b/model.onnx.',
      ],
    },
  )
}

/** Inputs without caches. */
function ownInputs(model: Model): Port[] {
  const states = new Set(findStates(model).map(({ input }) => input.name))
  return portsOf(model).filter(({ name }) => !states.has(name))
}

const list = (ports: readonly Port[]): string =>
  ports.map(({ name, dataType, dims }) => `"${name}" ${dataType} [${dims}]`).join(', ') || 'none'
