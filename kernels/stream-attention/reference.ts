/**
 * StreamAttention in float64, one query and one token after the other: the specification. The cache is
 * a list of tokens; slots are only where they are kept between steps.
 */
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import type { StreamAttributes, StreamSizes } from './attributes.js'

interface Token {
  readonly position: number
  readonly key: Float64Array
  readonly value: Float64Array
  readonly isHeavy: boolean
  /** Attention received so far. */
  score: number
}

export interface StreamInputs {
  readonly query: RuntimeTensor
  readonly key: RuntimeTensor
  readonly value: RuntimeTensor
  readonly positions: RuntimeTensor
  readonly pastKey: RuntimeTensor
  readonly pastValue: RuntimeTensor
  readonly slots: RuntimeTensor
  readonly scores: RuntimeTensor | undefined
  readonly frequencies: RuntimeTensor | undefined
}

export function referenceStream(
  inputs: StreamInputs,
  sizes: StreamSizes,
  attributes: StreamAttributes,
): RuntimeTensor[] {
  const { B, H, K, S, d, e, C, P } = sizes
  const positions = numbersOf(inputs.positions)
  const output = new Float64Array(B * H * S * e)
  // Slots that nothing comes into keep what they hold.
  const presentKey = Float64Array.from(numbersOf(inputs.pastKey))
  const presentValue = Float64Array.from(numbersOf(inputs.pastValue))
  const presentSlots = Float64Array.from(numbersOf(inputs.slots))
  const presentScores = Float64Array.from(inputs.scores ? numbersOf(inputs.scores) : [])
  for (let b = 0; b < B; b++) {
    const steps = Array.from({ length: S }, (_, s) => positions[b * S + s] as number)
    for (let k = 0; k < K; k++) {
      const cached = readCache(inputs, sizes, attributes, b, k)
      const tokens = [...cached, ...readStep(inputs, sizes, steps, b, k)]
      for (let h = (k * H) / K; h < ((k + 1) * H) / K; h++)
        attend(inputs, steps, tokens, attributes, {
          query: (b * H + h) * S,
          output: output.subarray((b * H + h) * S * e, (b * H + h + 1) * S * e),
        })
      for (const [slot, token] of slotsAfter(tokens, Math.max(-1, ...steps), attributes)) {
        const at = (b * K + k) * C + slot
        presentKey.set(token?.key ?? new Float64Array(d), at * d)
        presentValue.set(token?.value ?? new Float64Array(e), at * e)
        presentSlots[(b * P + (P === 1 ? 0 : k)) * C + slot] = token ? token.position + 1 : 0
        if (inputs.scores) presentScores[at] = token?.score ?? 0
      }
    }
  }
  const type = inputs.query.dataType
  return [
    tensorOf(type, [B, H, S, e], output),
    tensorOf(type, [B, K, C, d], presentKey),
    tensorOf(type, [B, K, C, e], presentValue),
    tensorOf('int64', [B, P, C], presentSlots),
    ...(inputs.scores ? [tensorOf('float32', [B, K, C], presentScores)] : []),
  ]
}

/** One head's queries over the tokens: adds to `output` [S, e], and to what tokens received. */
function attend(
  inputs: StreamInputs,
  steps: readonly number[],
  tokens: readonly Token[],
  attributes: StreamAttributes,
  rows: { readonly query: number; readonly output: Float64Array },
): void {
  const { sinks, window, denseStep, rotaryInterleaved } = attributes
  const query = numbersOf(inputs.query)
  const d = inputs.query.dims[3] as number
  const e = rows.output.length / steps.length
  const frequencies = inputs.frequencies && numbersOf(inputs.frequencies)
  const first = Math.min(...steps.filter((p) => p >= 0))
  for (const [s, p] of steps.entries()) {
    if (p < 0) continue
    const asked = query.subarray((rows.query + s) * d, (rows.query + s + 1) * d)
    const beyond = Math.max(0, p - (sinks + window - 1))
    const turned = frequencies ? turnBack(asked, frequencies, beyond, rotaryInterleaved) : asked
    const seen = tokens.filter(({ position, isHeavy }) => {
      const near = (denseStep ? first : p) - position < window
      return position <= p && (position < sinks || near || isHeavy)
    })
    const scores = seen.map(({ position, key }) =>
      scoreOf(position < sinks ? turned : asked, key, attributes),
    )
    const largest = Math.max(...scores)
    const weights = scores.map((score) => Math.exp(score - largest))
    const sum = weights.reduce((a, c) => a + c, 0)
    for (const [index, token] of seen.entries()) {
      const probability = (weights[index] as number) / sum
      token.score += probability
      for (let i = 0; i < e; i++)
        rows.output[s * e + i] =
          (rows.output[s * e + i] as number) + probability * (token.value[i] as number)
    }
  }
}

/** What comes into slots after a step whose newest position is `last`; nothing, where heavy hitters are too few. */
function* slotsAfter(
  tokens: readonly Token[],
  last: number,
  { sinks, window, heavy }: StreamAttributes,
): Generator<readonly [slot: number, token: Token | undefined]> {
  for (const token of tokens.filter(({ isHeavy }) => !isHeavy)) {
    if (token.position < sinks) yield [token.position, token]
    else if (token.position > last - window || last < 0)
      yield [sinks + ((token.position - sinks) % window), token]
  }
  const left = tokens
    .filter(({ position, isHeavy }) => isHeavy || (position >= sinks && position <= last - window))
    .sort((a, c) => a.position - c.position)
  const kept = left
    .toSorted((a, c) => c.score - a.score)
    .slice(0, heavy)
    .sort((a, c) => a.position - c.position)
  for (let i = 0; i < heavy; i++) yield [sinks + window + i, kept[i]]
}

function readCache(
  { pastKey, pastValue, slots, scores }: StreamInputs,
  { K, d, e, C, P }: StreamSizes,
  { sinks, window }: StreamAttributes,
  b: number,
  k: number,
): Token[] {
  const held = numbersOf(slots)
  const tokens: Token[] = []
  for (let slot = 0; slot < C; slot++) {
    const position = (held[(b * P + (P === 1 ? 0 : k)) * C + slot] as number) - 1
    if (position < 0) continue
    const at = (b * K + k) * C + slot
    tokens.push({
      position,
      key: Float64Array.from(numbersOf(pastKey).subarray(at * d, (at + 1) * d)),
      value: Float64Array.from(numbersOf(pastValue).subarray(at * e, (at + 1) * e)),
      isHeavy: slot >= sinks + window,
      score: scores ? (numbersOf(scores)[at] as number) : 0,
    })
  }
  return tokens
}

function readStep(
  { key, value }: StreamInputs,
  { K, S, d, e }: StreamSizes,
  steps: readonly number[],
  b: number,
  k: number,
): Token[] {
  return steps.flatMap((position, s) => {
    if (position < 0) return []
    const at = (b * K + k) * S + s
    return {
      position,
      key: Float64Array.from(numbersOf(key).subarray(at * d, (at + 1) * d)),
      value: Float64Array.from(numbersOf(value).subarray(at * e, (at + 1) * e)),
      isHeavy: false,
      score: 0,
    }
  })
}

function scoreOf(
  query: ArrayLike<number>,
  key: ArrayLike<number>,
  { scale, softcap }: StreamAttributes,
): number {
  let product = 0
  for (let i = 0; i < key.length; i++) product += (query[i] as number) * (key[i] as number)
  product *= scale || 1 / Math.sqrt(key.length)
  return softcap ? softcap * Math.tanh(product / softcap) : product
}

/** A query as it would be `count` positions earlier. */
function turnBack(
  query: ArrayLike<number>,
  frequencies: ArrayLike<number>,
  count: number,
  isInterleaved: boolean,
): Float64Array {
  const result = Float64Array.from(query)
  const pairs = frequencies.length
  for (let i = 0; i < pairs; i++) {
    const [x, y] = isInterleaved ? [2 * i, 2 * i + 1] : [i, i + pairs]
    const angle = count * (frequencies[i] as number)
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
    result[x] = (query[x] as number) * cos + (query[y] as number) * sin
    result[y] = (query[y] as number) * cos - (query[x] as number) * sin
  }
  return result
}
