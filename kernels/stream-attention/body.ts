/**
 * StreamAttention in standard operators: the cache and the new tokens as one list, attended to with a mask; the
 * new cache is gathered from the same list. Letters as in attributes.ts; G = H / K, N tokens in the list.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { StreamAttributes } from './attributes.js'
import {
  heavyTokens,
  join,
  keptTokens,
  listTokens,
  type TokenList,
  visibility,
} from './body-tokens.js'

/** Added to hidden scores: finite, so that a row of nothing else is even, not NaN; then it is cleared. */
const HIDDEN = -1e30

export interface StreamBodyInputs {
  readonly query: Value
  readonly key: Value
  readonly value: Value
  readonly positions: Value
  readonly pastKey: Value
  readonly pastValue: Value
  readonly slots: Value
  readonly scores: Value | undefined
  readonly frequencies: Value | undefined
}

/** Output, keys, values, slots, and with scores these, after the step. */
export function streamBody(
  build: BodyBuilder,
  inputs: StreamBodyInputs,
  attributes: StreamAttributes,
): Value[] {
  const isFloat = inputs.query.type?.dataType === 'float32'
  const asGiven = (value: Value): Value =>
    isFloat ? value : build.cast(value, inputs.query.type?.dataType ?? 'float32')
  const list = listTokens(build, inputs, attributes)
  const attended = attend(list, inputs, isFloat)
  const output = asGiven(attended.output)
  const { keys, values, slots, scores } = inputs.scores
    ? cacheWithHeavy(list, attended, inputs.scores)
    : ordinaryCache(list, attended)
  return [output, asGiven(keys), asGiven(values), slots, ...(scores ? [scores] : [])]
}

interface Attended {
  /** [B, K, N, d] and [B, K, N, e] of the whole list, in float32. */
  readonly keys: Value
  readonly values: Value
  /** [B, K, G, S, N] */
  readonly probabilities: Value
  readonly G: Value
  /** [B, H, S, e] */
  readonly output: Value
}

/** Every query over the whole list, what it doesn't see masked. */
function attend(list: TokenList, inputs: StreamBodyInputs, isFloat: boolean): Attended {
  const { build, attributes, B, H, K, P, S, N, d, e } = list
  const asFloat = (value: Value): Value => (isFloat ? value : build.cast(value, 'float32'))
  const keys = join(build, asFloat(inputs.pastKey), asFloat(inputs.key))
  const values = join(build, asFloat(inputs.pastValue), asFloat(inputs.value))
  const scale = attributes.scale
    ? build.float(attributes.scale)
    : build.op('Reciprocal', [build.op('Sqrt', [build.cast(d, 'float32')])])
  const query = build.op('Mul', [asFloat(inputs.query), scale])
  const G = build.divide(H, K)
  const scoresOf = (each: Value): Value =>
    build.reshape(
      build.op('MatMul', [
        build.reshape(each, [B, K, build.multiply(G, S), d]),
        build.transpose(keys, [0, 1, 3, 2]),
      ]),
      [B, K, G, S, N],
    )
  let scores = scoresOf(query)
  if (inputs.frequencies) {
    const isSink = build.op('Less', [
      build.reshape(list.all, [B, P, 1, 1, N]),
      build.ints(attributes.sinks),
    ])
    const turned = turnBack(list, query, inputs.frequencies)
    scores = build.op('Where', [isSink, scoresOf(turned), scores])
  }
  if (attributes.softcap) {
    const cap = build.float(attributes.softcap)
    scores = build.op('Mul', [build.op('Tanh', [build.op('Div', [scores, cap])]), cap])
  }
  const visible = visibility(list)
  const shown = build.op('Where', [visible, scores, build.float(HIDDEN)])
  const anyVisible = build.reduce('ReduceMax', build.cast(visible, 'float32'), -1)
  const probabilities = build.op('Mul', [
    build.op('Softmax', [shown], { axis: int(-1) }),
    anyVisible,
  ])
  const context = build.op('MatMul', [
    build.reshape(probabilities, [B, K, build.multiply(G, S), N]),
    values,
  ])
  return { keys, values, probabilities, G, output: build.reshape(context, [B, H, S, e]) }
}

interface Cache {
  readonly keys: Value
  readonly values: Value
  readonly slots: Value
  readonly scores?: Value
}

/** What the sinks' and the window's slots hold after the step. */
function ordinaryCache(list: TokenList, { keys, values }: Attended): Cache {
  const { build, all, d, e } = list
  const kept = keptTokens(list)
  const slots = at(build, build.op('Add', [all, build.ints(1)]), kept)
  return { keys: take(list, keys, d, kept), values: take(list, values, e, kept), slots }
}

/** The same, and the heavy hitters: among tokens beyond the window, those of highest score, by position. */
function cacheWithHeavy(list: TokenList, attended: Attended, pastScores: Value): Required<Cache> {
  const { build, B, K, S, N, d, e, all } = list
  const { keys, values, probabilities, G } = attended
  const kept = keptTokens(list)
  const slots = at(build, build.op('Add', [all, build.ints(1)]), kept)
  const received = build.op('Add', [
    join(build, pastScores, build.op('Expand', [build.float(0), build.list([B, K, S])])),
    build.reshape(
      build.reduce('ReduceSum', build.reshape(probabilities, [B, K, build.multiply(G, S), N]), 2),
      [B, K, N],
    ),
  ])
  const { index, isTaken } = heavyTokens(list, received)
  // Where there are fewer than slots for them, nothing is in the rest.
  const heavy = (value: Value, none: Value, axes: number): Value => {
    const apart = axes === 0 ? isTaken : build.op('Unsqueeze', [isTaken, build.ints([-1])])
    return build.op('Where', [apart, value, none])
  }
  const zero = build.float(0)
  const tokens = (each: Value, size: Value): Value =>
    join(build, take(list, each, size, kept), heavy(take(list, each, size, index), zero, 1))
  return {
    keys: tokens(keys, d),
    values: tokens(values, e),
    slots: join(
      build,
      slots,
      heavy(build.op('Add', [at(build, all, index), build.ints(1)]), build.ints(0), 0),
    ),
    scores: join(build, at(build, received, kept), heavy(at(build, received, index), zero, 0)),
  }
}

/** Numbers of tokens by their places: [B, P or K, places]. */
const at = (build: BodyBuilder, numbers: Value, places: Value): Value =>
  build.op('GatherElements', [numbers, places], { axis: int(2) })

/** Rows of [B, K, N, size] by their places: [B, K, places, size]. */
function take({ build, B, K, N }: TokenList, tokens: Value, size: Value, places: Value): Value {
  const row = build.reshape(build.multiply(build.range(build.multiply(B, K)), N), [B, K, 1])
  const flat = build.reshape(tokens, [-1, size])
  return build.op('Gather', [flat, build.op('Add', [row, places])], { axis: int(0) })
}

/** Queries as they would be nearer to the sinks: [B, H, S, d]. */
function turnBack(
  { build, attributes, B, H, S, d, positions }: TokenList,
  query: Value,
  frequencies: Value,
): Value {
  const { sinks, window, rotaryInterleaved } = attributes
  const beyond = build.op('Max', [
    build.op('Sub', [positions, build.ints(sinks + window - 1)]),
    build.ints(0),
  ])
  const angle = build.op('Mul', [
    build.reshape(build.cast(beyond, 'float32'), [B, 1, S, 1]),
    frequencies,
  ])
  const [cos, sin] = [build.op('Cos', [angle]), build.op('Sin', [angle])]
  const [pairs] = build.sizes(frequencies, 1) as [Value]
  const both = build.multiply(pairs, 2)
  const rest = build.slice(query, 3, both, d)
  const dims = rotaryInterleaved ? [B, H, S, pairs, 2] : [B, H, S, 2, pairs]
  const axis = rotaryInterleaved ? 4 : 3
  const paired = build.reshape(build.slice(query, 3, 0, both), dims)
  const half = (index: number): Value =>
    build.reshape(build.slice(paired, axis, index, index + 1), [B, H, S, pairs])
  const [x, y] = [half(0), half(1)]
  const turned = [
    build.op('Add', [build.op('Mul', [x, cos]), build.op('Mul', [y, sin])]),
    build.op('Sub', [build.op('Mul', [y, cos]), build.op('Mul', [x, sin])]),
  ].map((each) => build.op('Unsqueeze', [each, build.ints([axis])]))
  const joined = build.op('Concat', turned, { axis: int(axis) })
  return build.op('Concat', [build.reshape(joined, [B, H, S, both]), rest], { axis: int(3) })
}
