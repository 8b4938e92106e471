/** Which keys a query sees, read from a mask or from probabilities of equal scores. */
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'

export interface Visibility {
  readonly causal: boolean
  /**
   * Keys seen at most, counted as the model's makers do: width behind for causal attention, both
   * sides together otherwise.
   */
  readonly window: number | undefined
}

/**
 * From [..., queries, columns]: which pairs are open in any head. `scored` keys have scores; further
 * columns are attention sinks, which every query sees, before the keys or behind them.
 */
export function readPattern(
  tensor: RuntimeTensor,
  isProbability: boolean,
  scored: number | undefined,
): Visibility {
  const values = numbersOf(tensor)
  const [queries = 1, columns = 1] = tensor.dims.slice(-2)
  const isOpen = (value: number): boolean =>
    isProbability
      ? Math.abs(value) > 1e-30
      : tensor.dataType === 'bool'
        ? value !== 0
        : value > -1e4
  const sinks = scored !== undefined && scored < columns ? columns - scored : 0
  const keys = columns - sinks
  // The first query of a causal mask doesn't see the last key, but it sees a sink that stands there.
  const first = sinks > 0 && !isOpen(values[columns - 1] as number) ? sinks : 0
  const offset = keys - queries
  const area = queries * columns
  const open = new Uint8Array(queries * keys)
  for (let at = 0; at < values.length; at++) {
    const key = (at % columns) - first
    if (key < 0 || key >= keys || !isOpen(values[at] as number)) continue
    open[Math.floor((at % area) / columns) * keys + key] = 1
  }
  return readBand(open, queries, keys, offset)
}

/**
 * Causal: no query sees what comes after it, a prefix aside whose tokens all see each other. A window:
 * a band around the diagonal; blocks along it are samples laid end to end.
 */
function readBand(open: Uint8Array, queries: number, keys: number, offset: number): Visibility {
  let [behind, ahead, prefix, count] = [0, 0, 0, 0]
  for (let at = 0; at < open.length; at++) {
    if (!open[at]) continue
    const key = at % keys
    const distance = Math.floor(at / keys) + offset - key
    if (distance < 0) prefix = key + 1
    behind = Math.max(behind, distance)
    ahead = Math.max(ahead, -distance)
    count++
  }
  // With fewer queries than keys the last of these are the queries' own, if a query sees its own.
  const isDiagonal = offset === 0 || (offset > 0 && open[offset] === 1)
  const causal = queries > 1 && isDiagonal && prefix * 2 <= queries
  const isNarrow = offset === 0 && behind + ahead > 0 && behind + 1 < queries
  if (!isNarrow || (!causal && count !== bandArea(queries, behind, ahead)))
    return { causal, window: undefined }
  return { causal, window: causal ? behind + 1 : behind + ahead }
}

/** Pairs within a band of a square. */
function bandArea(size: number, behind: number, ahead: number): number {
  const cut = (width: number): number => ((size - 1 - width) * (size - width)) / 2
  return size * size - cut(behind) - cut(Math.min(ahead, size - 1))
}
