/** BlockSelect in float64, row by row: the specification. */
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import type { SelectAttributes, SelectSizes } from './attributes.js'

export interface SelectInputs<T> {
  readonly query: T
  readonly key: T
  readonly keyLengths: T | undefined
  readonly scores: T | undefined
  readonly summary: T | undefined
}

/** A block of queries: positions [from, to) and the key blocks that they may see. */
interface Row {
  readonly from: number
  readonly to: number
  readonly isVisible: (block: number) => boolean
  readonly isForced: (block: number) => boolean
}

export function referenceSelect(
  inputs: SelectInputs<RuntimeTensor>,
  sizes: SelectSizes,
  attributes: SelectAttributes,
): RuntimeTensor[] {
  const { B, H, K, L, R, C, d, m } = sizes
  const { scorer, count } = attributes
  const lengths = inputs.keyLengths && numbersOf(inputs.keyLengths)
  const lengthOf = (b: number): number => Math.max(0, Math.min(sizes.T, lengths?.[b] ?? sizes.T))
  const isSummed = scorer === 'mean' || scorer === 'minmax'
  const summary = isSummed ? summarise(inputs, sizes, attributes, lengthOf) : undefined
  const chosen: number[][] = []
  for (let b = 0; b < B; b++) {
    const rows = Array.from({ length: R }, (_, r) => rowOf(r, lengthOf(b), sizes, attributes))
    const perHead = Array.from({ length: H }, (_, h) => {
      const k = Math.floor((h * K) / H)
      if (scorer === 'last_query') {
        const paid = lastQueryWeights(inputs, sizes, attributes, b, h, lengthOf(b))
        return rows.map(({ isVisible }) => share(paid.map((each, c) => (isVisible(c) ? each : 0))))
      }
      return rows.map((row, r) => {
        const given = scorer === 'given' && inputs.scores && numbersOf(inputs.scores)
        const scores = given
          ? given.subarray(((b * H + h) * R + r) * C, ((b * H + h) * R + r + 1) * C)
          : summaryScores(inputs, sizes, attributes, summary as Float64Array, row, b, h, k)
        return softmax(
          Array.from(scores, (s, c) => (row.isVisible(c) ? s : Number.NEGATIVE_INFINITY)),
        )
      })
    })
    for (let l = 0; l < L; l++)
      for (const [r, row] of rows.entries()) {
        const heads = perHead.slice((l * H) / L, ((l + 1) * H) / L)
        const weights = Array.from({ length: C }, (_, c) =>
          heads.reduce((sum, head) => sum + (head[r]?.[c] as number) / heads.length, 0),
        )
        chosen.push(choose(weights, row, attributes))
      }
  }
  const fullest = Math.max(1, ...chosen.map(({ length }) => length))
  const c = count > 0 ? Math.min(C, count) : fullest
  const table = chosen.flatMap((row) => Array.from({ length: c }, (_, index) => row[index] ?? -1))
  return [
    tensorOf('int32', [B, L, R, c], table),
    ...(summary ? [tensorOf('float32', [B, K, C, m, d], summary)] : []),
  ]
}

function rowOf(
  r: number,
  length: number,
  { start, S }: SelectSizes,
  { queryBlock, keyBlock, causal, sinkBlocks, localBlocks }: SelectAttributes,
): Row {
  const row = Math.floor(start / queryBlock) + r
  const to = Math.min((row + 1) * queryBlock, start + S)
  const own = Math.floor((row * queryBlock) / keyBlock)
  const ownLast = Math.floor(((row + 1) * queryBlock - 1) / keyBlock)
  return {
    from: Math.max(row * queryBlock, start),
    to,
    isVisible: (block) => block * keyBlock < length && (!causal || block * keyBlock < to),
    isForced: (block) =>
      block < sinkBlocks || (block > own - localBlocks && block < ownLast + localBlocks),
  }
}

/** Forced blocks, then by weight, as far as the rule goes; rising. */
function choose(weights: readonly number[], row: Row, attributes: SelectAttributes): number[] {
  const { select, count, mass, threshold } = attributes
  const visible = weights.map((_, block) => block).filter(row.isVisible)
  const rank = (block: number): number => (row.isForced(block) ? 2 : 0) + (weights[block] as number)
  const ranked = visible.toSorted((a, b) => rank(b) - rank(a))
  let before = 0
  const kept = ranked.filter((block, index) => {
    const weight = weights[block] as number
    const reached = before
    before += weight
    if (count > 0 && index >= count) return false
    if (row.isForced(block) || select === 'count') return true
    return select === 'mass' ? mass === 1 || reached < mass : weight >= threshold
  })
  return kept.sort((a, b) => a - b)
}

/** Means, or minima and maxima, of the blocks' keys: [B, K, C, m, d]. */
function summarise(
  { key, summary }: SelectInputs<RuntimeTensor>,
  { B, K, T, d, C, m }: SelectSizes,
  { keyBlock }: SelectAttributes,
  lengthOf: (batch: number) => number,
): Float64Array {
  const keys = numbersOf(key)
  const past = summary && numbersOf(summary)
  const known = summary?.dims[2] ?? 0
  const result = new Float64Array(elementCount([B, K, C, m, d]))
  for (let b = 0; b < B; b++)
    for (let k = 0; k < K; k++)
      for (let c = 0; c < C; c++) {
        const to = ((b * K + k) * C + c) * m * d
        if (past && c < known - 1) {
          const from = ((b * K + k) * known + c) * m * d
          result.set(past.subarray(from, from + m * d), to)
          continue
        }
        const end = Math.min((c + 1) * keyBlock, lengthOf(b))
        const count = end - c * keyBlock
        if (count <= 0) continue
        for (let i = 0; i < d; i++) {
          const column = Array.from(
            { length: count },
            (_, t) => keys[((b * K + k) * T + c * keyBlock + t) * d + i] as number,
          )
          if (m === 1) result[to + i] = column.reduce((a, x) => a + x, 0) / count
          else {
            result[to + i] = Math.min(...column)
            result[to + d + i] = Math.max(...column)
          }
        }
      }
  return result
}

function summaryScores(
  { query }: SelectInputs<RuntimeTensor>,
  { H, K, S, d, C, m, start }: SelectSizes,
  { scale }: SelectAttributes,
  summary: Float64Array,
  { from, to }: Row,
  b: number,
  h: number,
  k: number,
): number[] {
  const queries = numbersOf(query)
  const mean = Array.from({ length: d }, (_, i) => {
    let sum = 0
    for (let p = from; p < to; p++) sum += queries[((b * H + h) * S + p - start) * d + i] as number
    return sum / (to - from)
  })
  return Array.from({ length: C }, (_, c) => {
    const at = ((b * K + k) * C + c) * m * d
    const score = mean.reduce((sum, q, i) => {
      const low = q * (summary[at + i] as number)
      return sum + (m === 1 ? low : Math.max(low, q * (summary[at + d + i] as number)))
    }, 0)
    return score * (scale || 1 / Math.sqrt(d))
  })
}

/** What the last queries pay to each block: [C]. */
function lastQueryWeights(
  { query, key }: SelectInputs<RuntimeTensor>,
  { H, K, S, T, d, C, start }: SelectSizes,
  { scale, queryBlock, keyBlock, causal }: SelectAttributes,
  b: number,
  h: number,
  length: number,
): number[] {
  const queries = numbersOf(query)
  const keys = numbersOf(key)
  const k = Math.floor((h * K) / H)
  const paid = Array.from({ length: C }, () => 0)
  for (let s = Math.max(0, S - queryBlock); s < S; s++) {
    const end = causal ? Math.min(length, start + s + 1) : length
    const scores = Array.from({ length: end }, (_, t) => {
      let score = 0
      for (let i = 0; i < d; i++)
        score +=
          (queries[((b * H + h) * S + s) * d + i] as number) *
          (keys[((b * K + k) * T + t) * d + i] as number)
      return score * (scale || 1 / Math.sqrt(d))
    })
    for (const [t, weight] of softmax(scores).entries()) {
      const block = Math.floor(t / keyBlock)
      paid[block] = (paid[block] as number) + weight
    }
  }
  return paid
}

function softmax(scores: readonly number[]): number[] {
  const largest = Math.max(...scores)
  return share(
    scores.map((each) => (each === Number.NEGATIVE_INFINITY ? 0 : Math.exp(each - largest))),
  )
}

/** Made to sum to 1, unless all is 0. */
function share(weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0)
  return weights.map((each) => (sum === 0 ? 0 : each / sum))
}
