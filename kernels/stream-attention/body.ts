/**
 * StreamAttention in standard operators: the cache and the new tokens as one list of N = C + S tokens, attended
 * to with a mask; the new cache is gathered from the same list. Letters as in attributes.ts; G = H / K.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { StreamAttributes } from './attributes.js'

/** Added to hidden scores: finite, so that a row of nothing else is even, not NaN; then it is cleared. */
const HIDDEN = -1e30
/** After every position. */
const NEVER = 2 ** 40

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

interface List {
  readonly build: BodyBuilder
  readonly attributes: StreamAttributes
  readonly B: Value
  readonly K: Value
  readonly P: Value
  readonly C: number
  readonly S: Value
  readonly N: Value
  /** [B, S]: of the new tokens. */
  readonly positions: Value
  /** [B, 1] */
  readonly first: Value
  readonly last: Value
  /** [B, P, N]: of cached and new tokens; −1 is none. */
  readonly all: Value
  /** [1, 1, N] of bool. */
  readonly isHeavySlot: Value
}

export function streamBody(
  build: BodyBuilder,
  inputs: StreamBodyInputs,
  attributes: StreamAttributes,
): Value[] {
  const { sinks, window, heavy } = attributes
  const C = sinks + window + heavy
  const isFloat = inputs.query.type?.dataType === 'float32'
  const asFloat = (value: Value): Value => (isFloat ? value : build.cast(value, 'float32'))
  const asGiven = (value: Value): Value =>
    isFloat ? value : build.cast(value, inputs.query.type?.dataType ?? 'float32')

  // 1. The list of tokens.
  const [B, H, S, d] = build.sizes(inputs.query, 4) as [Value, Value, Value, Value]
  const [, K, , e] = build.sizes(inputs.value, 4) as [Value, Value, Value, Value]
  const P = heavy > 0 ? K : build.ints([1])
  const N = build.add(C, S)
  const { positions } = inputs
  const isNew = build.op('GreaterOrEqual', [positions, build.ints(0)])
  const first = build.reduce(
    'ReduceMin',
    build.op('Where', [isNew, positions, build.ints(NEVER)]),
    -1,
  )
  const last = build.op('Max', [build.reduce('ReduceMax', positions, -1), build.ints(-1)])
  const added = build.op('Expand', [
    build.op('Unsqueeze', [positions, build.ints([1])]),
    build.list([B, P, S]),
  ])
  const all = join(build, build.op('Sub', [inputs.slots, build.ints(1)]), added)
  const place = build.reshape(build.range(N), [1, 1, N])
  const isHeavySlot = build.op('And', [
    build.op('GreaterOrEqual', [place, build.ints(sinks + window)]),
    build.op('Less', [place, build.ints(C)]),
  ])
  const list: List = {
    ...{ build, attributes, B, K, P, C, S, N, positions, first, last, all, isHeavySlot },
  }

  // 2. Attention.
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
    const isSink = build.op('Less', [build.reshape(all, [B, P, 1, 1, N]), build.ints(sinks)])
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
  const output = asGiven(build.reshape(context, [B, H, S, e]))

  // 3. The new cache.
  const kept = keptTokens(list)
  const take = (tokens: Value, size: Value, index: Value): Value => {
    const row = build.reshape(build.multiply(build.range(build.multiply(B, K)), N), [B, K, 1])
    const flat = build.reshape(tokens, [-1, size])
    return build.op('Gather', [flat, build.op('Add', [row, index])], { axis: int(0) })
  }
  const slots = build.op('GatherElements', [build.op('Add', [all, build.ints(1)]), kept], {
    axis: int(2),
  })
  if (!inputs.scores)
    return [output, asGiven(take(keys, d, kept)), asGiven(take(values, e, kept)), slots]

  // 4. Heavy hitters: among those beyond the window, the ones of highest score, by position.
  const received = build.op('Add', [
    join(build, inputs.scores, build.op('Expand', [build.float(0), build.list([B, K, S])])),
    build.reshape(
      build.reduce('ReduceSum', build.reshape(probabilities, [B, K, build.multiply(G, S), N]), 2),
      [B, K, N],
    ),
  ])
  const { index, isTaken } = heavyTokens(list, received)
  const clear = (value: Value, none: Value, axes: number): Value => {
    const apart = axes === 0 ? isTaken : build.op('Unsqueeze', [isTaken, build.ints([-1])])
    return build.op('Where', [apart, value, none])
  }
  const whole = (ordinary: Value, chosen: Value): Value => join(build, ordinary, chosen)
  const zero = build.float(0)
  const at = (values_: Value, where: Value): Value =>
    build.op('GatherElements', [values_, where], { axis: int(2) })
  return [
    output,
    asGiven(whole(take(keys, d, kept), clear(take(keys, d, index), zero, 1))),
    asGiven(whole(take(values, e, kept), clear(take(values, e, index), zero, 1))),
    whole(slots, clear(build.op('Add', [at(all, index), build.ints(1)]), build.ints(0), 0)),
    whole(at(received, kept), clear(at(received, index), zero, 0)),
  ]
}

/** Cached and new tokens, one after the other. */
const join = (build: BodyBuilder, past: Value, added: Value): Value =>
  build.op('Concat', [past, added], { axis: int(2) })

/** Which tokens each query sees: [B, P, 1, S, N] of bool. */
function visibility(list: List): Value {
  const { build, attributes, B, P, S, N, positions, first, all, isHeavySlot } = list
  const token = build.reshape(all, [B, P, 1, 1, N])
  const query = build.reshape(positions, [B, 1, 1, S, 1])
  const from = attributes.denseStep ? build.reshape(first, [B, 1, 1, 1, 1]) : query
  let kept = build.op('Greater', [token, build.op('Sub', [from, build.ints(attributes.window)])])
  if (attributes.sinks > 0)
    kept = build.op('Or', [kept, build.op('Less', [token, build.ints(attributes.sinks)])])
  if (attributes.heavy > 0)
    kept = build.op('Or', [kept, build.reshape(isHeavySlot, [1, 1, 1, 1, N])])
  const exists = build.op('GreaterOrEqual', [token, build.ints(0)])
  const isPast = build.op('LessOrEqual', [token, query])
  return build.op('And', [build.op('And', [exists, isPast]), kept])
}

/** Places in the list of what the sinks' and the window's slots hold after the step: [B, P, sinks + window]. */
function keptTokens({ build, attributes, B, P, C, positions, first, last }: List): Value {
  const { sinks, window } = attributes
  const slot = build.ints(Array.from({ length: sinks + window }, (_, index) => index))
  // The newest position that belongs in a slot of the window.
  const ago = build.op('Mod', [
    build.op('Sub', [
      build.op('Sub', [last, build.ints(sinks)]),
      build.op('Sub', [slot, build.ints(sinks)]),
    ]),
    build.ints(window),
  ])
  const inWindow = build.op('Max', [build.op('Sub', [last, ago]), build.ints(-1)])
  const isSink = build.op('Less', [slot, build.ints(sinks)])
  const wanted = build.op('Where', [isSink, slot, inWindow])
  const belongs = build.op('Or', [isSink, build.op('GreaterOrEqual', [wanted, build.ints(sinks)])])
  const isAdded = build.op('And', [
    build.op('And', [
      build.op('GreaterOrEqual', [wanted, first]),
      build.op('LessOrEqual', [wanted, last]),
    ]),
    belongs,
  ])
  const isNew = build.cast(build.op('GreaterOrEqual', [positions, build.ints(0)]), 'int32')
  const offset = build.op('ArgMax', [isNew], { axis: int(-1), keepdims: int(1) })
  const added = build.op('Add', [
    build.op('Sub', [wanted, first]),
    build.op('Add', [offset, build.ints(C)]),
  ])
  const index = build.op('Where', [isAdded, added, slot])
  const rows = build.op('Unsqueeze', [index, build.ints([1])])
  return build.op('Expand', [rows, build.list([B, P, sinks + window])])
}

/** Places of the heavy hitters by rising position, and which of them there are: [B, K, heavy]. */
function heavyTokens(list: List, received: Value): { index: Value; isTaken: Value } {
  const { build, attributes, B, N, last, all, isHeavySlot } = list
  const { sinks, window, heavy } = attributes
  const limit = build.reshape(build.op('Sub', [last, build.ints(window)]), [B, 1, 1])
  const exists = build.op('GreaterOrEqual', [all, build.ints(0)])
  const hasLeft = build.op('And', [
    build.op('GreaterOrEqual', [all, build.ints(sinks)]),
    build.op('LessOrEqual', [all, limit]),
  ])
  const isOut = build.op('And', [exists, build.op('Or', [hasLeft, isHeavySlot])])
  // By position, so that of equal scores the older one comes first.
  const order = smallest(build, build.op('Where', [isOut, all, build.ints(NEVER)]), N)
  const along = (value: Value, index: Value): Value =>
    build.op('GatherElements', [value, index], { axis: int(2) })
  const ranked = along(build.op('Where', [isOut, received, build.float(-1)]), order)
  const best = build.op('Cast', [largestPlaces(build, ranked, heavy)], { to: int(7) })
  const sorted = along(best, smallest(build, best, build.ints([heavy])))
  return {
    index: along(order, sorted),
    isTaken: build.op('GreaterOrEqual', [along(ranked, sorted), build.float(0)]),
  }
}

const smallest = (build: BodyBuilder, value: Value, count: Value): Value =>
  build.outputs('TopK', [value, count], 2, { axis: int(-1), largest: int(0) })[1] as Value

const largestPlaces = (build: BodyBuilder, value: Value, count: number): Value =>
  build.outputs('TopK', [value, build.ints([count])], 2, { axis: int(-1) })[1] as Value

/** Queries as they would be nearer to the sinks: [B, H, S, d]. */
function turnBack({ build, attributes, B, S, positions }: List, query: Value, frequencies: Value) {
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
  const [, H, , d] = build.sizes(query, 4) as [Value, Value, Value, Value]
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
