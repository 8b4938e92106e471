/** Reading by index scatters the gradient back, adding where one place was read twice; writing gathers. */
import { fromFront } from '../../axes/rule.js'
import { intAttribute, stringAttribute, type Value } from '../../graph/graph.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'
import { unsupported } from '../unsupported.js'

/** Adds updates to zeros shaped like `data` where they belong: in single precision, as sums may be long. */
function addInto(
  c: GradientContext,
  op: 'ScatterND' | 'ScatterElements',
  data: Value,
  [places, updates]: readonly [Value, Value],
  { axis, order }: { readonly axis?: number; readonly order?: readonly number[] } = {},
): Value {
  const type = c.typeOf(data)
  const isHalf = type === 'float16'
  const none = c.fill(data, 0, isHalf ? 'float32' : type)
  const zeros = order ? c.op('Transpose', [none], { perm: order }) : none
  const added = c.op(op, [zeros, places, isHalf ? c.cast(updates, 'float32') : updates], {
    reduction: 'add',
    ...(axis === undefined ? {} : { axis }),
  })
  return isHalf ? c.cast(added, type) : added
}

/** data [.., n, ..], indices: rows are added back along the axis, which is brought to the front. */
const gather: GradientRule = {
  backward(c) {
    const [data, indices] = [c.input(0), c.input(1)]
    const rank = c.rank(data)
    const axis = fromFront(intAttribute(c.node, 'axis', 0), rank)
    const depth = c.rank(indices)
    const last = c.ints(-1)
    const wide = c.shapes.dataType(indices) === 'int64' ? indices : c.cast(indices, 'int64')
    const places = c.op('Unsqueeze', [wide, last])
    const g = c.gradient(0) as Value
    if (axis === 0) return [addInto(c, 'ScatterND', data, [places, g])]
    const front = Array.from({ length: axis }, (_, each) => each)
    const read = Array.from({ length: depth }, (_, each) => axis + each)
    const behind = Array.from({ length: rank - axis - 1 }, (_, each) => axis + depth + each)
    const turned = c.op('Transpose', [g], { perm: [...read, ...front, ...behind] })
    const order = [axis, ...front, ...behind.map((each) => each - depth + 1)]
    const added = addInto(c, 'ScatterND', data, [places, turned], { order })
    return [c.op('Transpose', [added], { perm: order.map((_, each) => order.indexOf(each)) })]
  },
}

const gatherElements: GradientRule = {
  backward: (c) => [
    addInto(c, 'ScatterElements', c.input(0), [c.input(1), c.gradient(0) as Value], {
      axis: intAttribute(c.node, 'axis', 0),
    }),
  ],
}

const gatherND: GradientRule = {
  backward(c) {
    if (intAttribute(c.node, 'batch_dims', 0) !== 0) throw unsupported(c.node, 'batch dimensions')
    return [addInto(c, 'ScatterND', c.input(0), [c.input(1), c.gradient(0) as Value])]
  },
}

/** What was overwritten gets nothing; what was written gets what lies at its place. */
const scatter = (
  write: (c: GradientContext, into: Value, updates: Value) => Value,
  read: (c: GradientContext, from: Value) => Value,
): GradientRule => ({
  backward(c) {
    const reduction = stringAttribute(c.node, 'reduction') ?? 'none'
    if (reduction !== 'none' && reduction !== 'add')
      throw unsupported(c.node, `reduction ${reduction}`)
    const g = c.gradient(0) as Value
    const kept = (): Value => write(c, g, c.zerosLike(c.input(2)))
    return [
      c.needs(0) ? (reduction === 'add' ? g : kept()) : undefined,
      undefined,
      c.needs(2) ? read(c, g) : undefined,
    ]
  },
})

const scatterElements = scatter(
  (c, into, updates) =>
    c.op('ScatterElements', [into, c.input(1), updates], { axis: intAttribute(c.node, 'axis', 0) }),
  (c, from) =>
    c.op('GatherElements', [from, c.input(1)], { axis: intAttribute(c.node, 'axis', 0) }),
)

const scatterND = scatter(
  (c, into, updates) => c.op('ScatterND', [into, c.input(1), updates]),
  (c, from) => c.op('GatherND', [from, c.input(1)]),
)

/** Values go back to where they stood. */
const topK: GradientRule = {
  backward: (c) => [
    c.op('ScatterElements', [c.zerosLike(c.input(0)), c.output(1), c.gradient(0)], {
      axis: intAttribute(c.node, 'axis', -1),
    }),
  ],
}

export const gatherRules: Readonly<Record<string, GradientRule>> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatterElements,
  Scatter: scatterElements,
  ScatterND: scatterND,
  TopK: topK,
}
