/**
 * The tokens of a step in standard operators: those of the cache and the new ones as one list of N = C + S, which
 * queries see in part and of which the next cache holds some. Letters as in attributes.ts.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { StreamAttributes } from './attributes.js'

/** After every position. */
const NEVER = 2 ** 40

export interface TokenList {
  readonly build: BodyBuilder
  readonly attributes: StreamAttributes
  readonly B: Value
  readonly H: Value
  readonly K: Value
  readonly P: Value
  readonly C: number
  readonly S: Value
  readonly N: Value
  readonly d: Value
  readonly e: Value
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

export interface TokenInputs {
  readonly query: Value
  readonly value: Value
  readonly positions: Value
  readonly slots: Value
}

export function listTokens(
  build: BodyBuilder,
  inputs: TokenInputs,
  attributes: StreamAttributes,
): TokenList {
  const { sinks, window, heavy } = attributes
  const C = sinks + window + heavy
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
  const sizes = { B, H, K, P, C, S, N, d, e }
  return { build, attributes, ...sizes, positions, first, last, all, isHeavySlot }
}

/** Cached and new tokens, one after the other. */
export const join = (build: BodyBuilder, past: Value, added: Value): Value =>
  build.op('Concat', [past, added], { axis: int(2) })

/** Which tokens each query sees: [B, P, 1, S, N] of bool. */
export function visibility(list: TokenList): Value {
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
export function keptTokens({
  build,
  attributes,
  B,
  P,
  C,
  positions,
  first,
  last,
}: TokenList): Value {
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
export function heavyTokens(list: TokenList, received: Value): { index: Value; isTaken: Value } {
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
