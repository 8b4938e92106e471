/**
 * What the values of a mask say: which pairs it hides, and whether causality, a window and padding are
 * all that hides them. Anything else is no meaning, and such a mask stays.
 */
import type { Value } from '../graph/graph.js'
import { lowestSeen } from '../model/lowest-seen.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import type { MaskFacts } from './mask-facts.js'
import type { Lengths } from './probe-sizes.js'

/** What one mask says, if that is all that it says. */
export type Meaning = Omit<MaskFacts, 'kept'>

/** A mask's values with zeros in an input. */
export interface Padding {
  readonly name: string
  /** 0 or 1 for every sample and key. */
  readonly zeros: readonly number[]
  readonly keys: number
  readonly after: RuntimeTensor
}

/** Undefined where the mask says anything else. */
export function meaningOf(
  plain: RuntimeTensor | undefined,
  padding: Padding | null | undefined,
): Meaning | undefined {
  if (!plain || padding === null) return undefined
  const seen = readPairs(plain)
  if (!seen) return undefined
  const visibility = readVisibility(seen)
  if (!visibility) return undefined
  if (!padding) return visibility
  const padded = readPairs(padding.after)
  if (!padded || padded.keys !== padding.keys) return undefined
  const { queries, keys, batch } = padded
  for (let at = 0; at < padded.visible.length; at++) {
    const [key, query] = [at % keys, Math.floor(at / keys) % queries]
    const sample = Math.floor(at / (keys * queries)) % batch
    const isReal = padding.zeros[sample * keys + key] === 1
    const isOpen = seen.visible[(query % seen.queries) * seen.keys + (key % seen.keys)] === 1
    if ((padded.visible[at] === 1) !== (isReal && isOpen)) return undefined
  }
  return { ...visibility, padding: padding.name }
}

interface Pairs {
  readonly batch: number
  readonly queries: number
  readonly keys: number
  readonly visible: Uint8Array
}

/** Pairs that are seen; undefined where numbers say more than seen or hidden, or heads differ. */
function readPairs(tensor: RuntimeTensor): Pairs | undefined {
  const values = numbersOf(tensor)
  const [queries = 1, keys = 1] = tensor.dims.slice(-2)
  const leading = tensor.dims.slice(0, -2)
  if (leading.slice(1).some((size) => size !== 1)) return undefined
  const isBool = tensor.dataType === 'bool'
  const visible = new Uint8Array(values.length)
  for (const [at, value] of values.entries()) {
    if (!isBool && value !== 0 && !(value <= lowestSeen)) return undefined
    visible[at] = (isBool ? value !== 0 : value === 0) ? 1 : 0
  }
  return { batch: leading[0] ?? 1, queries, keys, visible }
}

function readVisibility({ batch, queries, keys, visible }: Pairs): Meaning | undefined {
  const offset = keys - queries
  if (queries === 1 || keys === 1)
    return visible.every((each) => each === 1) ? { causal: false } : undefined
  let [behind, ahead] = [0, 0]
  for (let query = 0; query < queries; query++)
    for (let key = 0; key < keys; key++)
      if (visible[query * keys + key]) {
        behind = Math.max(behind, query + offset - key)
        ahead = Math.max(ahead, key - query - offset)
      }
  const causal = ahead === 0 && queries > 1
  const isWindow = behind + 1 < keys && behind > 0
  if (!causal && isWindow && ahead !== behind) return undefined
  const window = isWindow ? behind + 1 : undefined
  for (let at = 0; at < batch * queries * keys; at++) {
    const distance = (Math.floor(at / keys) % queries) + offset - (at % keys)
    const isOpen = (!causal || distance >= 0) && (!window || Math.abs(distance) < window)
    if ((visible[at] === 1) !== isOpen) return undefined
  }
  return { causal, ...(window && { window }) }
}

/** What all trials say; a window shows only where it is shorter than the trial. */
export function agreeing(
  before: ReadonlyMap<Value, Meaning | undefined>,
  now: ReadonlyMap<Value, Meaning | undefined>,
  { fresh, past }: Lengths,
): Map<Value, Meaning | undefined> {
  return new Map(
    [...before].map(([mask, one]) => {
      const other = now.get(mask)
      if (!one || !other || one.causal !== other.causal) return [mask, undefined]
      if (one.padding !== other.padding && fresh <= 100) return [mask, undefined]
      if (one.window && one.window !== other.window && one.window < fresh + past)
        return [mask, undefined]
      const window = one.window ?? other.window
      return [mask, { ...one, ...(window && { window }) }]
    }),
  )
}
