/** Constants of two graphs by name: which changed, and how. Reads the numbers of both, one at a time. */
import type { Graph } from '../graph/graph.js'
import { haveSameBytes } from '../onnx/equal-tensors.js'
import type { Tensor } from '../onnx/tensor.js'

export interface ConstantDifference {
  readonly name: string
  readonly change: 'added' | 'removed' | 'type' | 'shape' | 'numbers'
  /** `float32 [64, 32]`; null where one of the models doesn't have it. */
  readonly before: string | null
  readonly after: string | null
  /** Bytes of the larger one. */
  readonly bytes: number
  /** Of the one layer that reads it; null where none or several do, or nobody asked. */
  readonly layer: number | null
}

export interface ConstantDifferences {
  /** How many have the same name, type, shape and numbers. */
  readonly same: number
  /** Largest first. */
  readonly changed: readonly ConstantDifference[]
}

/** `layers`: those of constants by name, in either graph. */
export function compareConstants(
  first: Graph,
  second: Graph,
  layers: ReadonlyMap<string, number> = new Map(),
): ConstantDifferences {
  const [before, after] = [constantsOf(first), constantsOf(second)]
  const changed: ConstantDifference[] = []
  let same = 0
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [one, other] = [before.get(name), after.get(name)]
    const change = changeOf(one, other)
    if (change === undefined) same++
    else
      changed.push({
        name,
        change,
        before: one ? describe(one) : null,
        after: other ? describe(other) : null,
        bytes: Math.max(one?.byteLength ?? 0, other?.byteLength ?? 0),
        layer: layers.get(name) ?? null,
      })
  }
  return { same, changed: changed.sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1)) }
}

function constantsOf(graph: Graph): Map<string, Tensor> {
  const found = new Map<string, Tensor>()
  for (const { name, constant } of graph.values.values()) if (constant) found.set(name, constant)
  return found
}

function changeOf(
  one: Tensor | undefined,
  other: Tensor | undefined,
): ConstantDifference['change'] | undefined {
  if (!one) return 'added'
  if (!other) return 'removed'
  if (one.dataType !== other.dataType) return 'type'
  if (one.dims.join() !== other.dims.join()) return 'shape'
  if (one.strings || other.strings)
    return JSON.stringify(one.strings) === JSON.stringify(other.strings) ? undefined : 'numbers'
  return haveSameBytes(one, other) ? undefined : 'numbers'
}

const describe = ({ dataType, dims }: Tensor): string => `${dataType} [${dims.join(', ')}]`
