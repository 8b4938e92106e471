/**
 * Queries, keys and values of attention as [batch, heads, tokens, size], from however the model lays
 * them out; keys and values before they are repeated for grouped queries, where that can be seen.
 */
import { type Axis, leavesOf } from '../axes/axis.js'
import { intsAttribute, type Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import { upstream } from '../model/trace.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { ReadAttention } from './read.js'
import { Unreadable } from './unreadable.js'

export interface Heads {
  readonly query: Value
  readonly key: Value
  readonly value: Value
  readonly keyValueHeads: number
}

/** `buildValue` writes what is made of the values, which may come later than the scores. */
export function readHeads(
  build: NodeBuilder,
  view: TransformerModel,
  read: ReadAttention,
  buildValue: NodeBuilder,
): Heads {
  const { block, heads } = read
  const axesOf = (value: Value): readonly Axis[] => view.analysis.axes(value) ?? []
  const query = asHeads(build, read, read.query, axesOf(read.query))
  const original = findOriginal(build, view, read, read.turnedKey)
  const value = original && findOriginal(buildValue, view, read, read.value)
  if (original && value)
    return { query: query.heads, key: original, value, keyValueHeads: block.keyValueHeads }
  const key = asHeads(build, read, turnBack(build, view, read.turnedKey), axesOf(read.turnedKey))
  const repeated = asHeads(buildValue, read, read.value, axesOf(read.value))
  if (query.count !== heads || key.count !== repeated.count)
    throw new Unreadable('its queries, keys and values differ in heads')
  return { query: query.heads, key: key.heads, value: repeated.heads, keyValueHeads: key.count }
}

const repeaters = new Set([
  'Reshape',
  'Expand',
  'Unsqueeze',
  'Squeeze',
  'Transpose',
  'Tile',
  'Identity',
])

/** The value with one copy of each key-value head, [batch, heads, tokens, size]. */
function findOriginal(
  build: NodeBuilder,
  view: TransformerModel,
  { block, turnedKey }: ReadAttention,
  value: Value,
): Value | undefined {
  const size = value === turnedKey ? block.headSize : block.valueHeadSize
  if (block.groupAxes.length === 0) return undefined
  const isOriginal = (axis: Axis | undefined): boolean => {
    const leaves = axis ? leavesOf(axis) : []
    const { keyValueHeadAxes } = block
    return keyValueHeadAxes.length === 0
      ? axis?.size.value === 1
      : leaves.length === keyValueHeadAxes.length &&
          leaves.every((each, i) => each === keyValueHeadAxes[i])
  }
  for (const node of upstream(value, ({ op, domain }) => domain === '' && repeaters.has(op))) {
    for (const candidate of [node.outputs[0], node.inputs[0]]) {
      const axes = candidate && view.analysis.axes(candidate)
      if (!candidate || axes?.length !== 4 || axes[3]?.size.value !== size) continue
      if (isOriginal(axes[1]) && axes[2]?.size.value !== size) return candidate
      if (isOriginal(axes[2])) return build.op('Transpose', [candidate], { perm: [0, 2, 1, 3] })
    }
    if (!repeaters.has(node.op)) break
  }
  return undefined
}

/** [.., size, keys] as [.., keys, size], by the Transpose that made it where there is one. */
function turnBack(build: NodeBuilder, view: TransformerModel, turned: Value): Value {
  const rank = view.analysis.axes(turned)?.length ?? 0
  const node = turned.producer
  const own = node?.op === 'Transpose' ? intsAttribute(node, 'perm') : undefined
  const swapped = (order: readonly number[]): number[] => [
    ...order.slice(0, -2),
    order.at(-1) as number,
    order.at(-2) as number,
  ]
  const source = own && node?.inputs[0]
  const perm = swapped(own ?? Array.from({ length: rank }, (_, axis) => axis))
  if (source && perm.every((axis, index) => axis === index)) return source
  return build.op('Transpose', [source ?? turned], { perm })
}

/** The heads among the axes before tokens and size; throws `Unreadable` where they are others than those of scores. */
export function countHeads(
  { block, heads }: ReadAttention,
  value: Value,
  axes: readonly Axis[],
): number {
  const leading = axes.slice(0, -2)
  const own = new Set([...block.keyValueHeadAxes, ...block.groupAxes])
  const count = leading
    .flatMap(leavesOf)
    .reduce((product, leaf) => product * (own.has(leaf) ? (leaf.size.value ?? 1) : 1), 1)
  // One head for each group is enough: the product repeats it.
  if (leading.length === 0 || (count !== heads && count !== block.keyValueHeads))
    throw new Unreadable(`"${value.name}" has other heads than its scores`)
  return count
}

/** [batch·heads, tokens, size], [batch, heads…, tokens, size] → [batch, heads, tokens, size]. */
function asHeads(
  build: NodeBuilder,
  read: ReadAttention,
  value: Value,
  axes: readonly Axis[],
): { readonly heads: Value; readonly count: number } {
  const leading = axes.slice(0, -2)
  const count = countHeads(read, value, axes)
  if (leading.length === 2 && leading[1]?.size.value === count) return { heads: value, count }
  return { heads: build.op('Reshape', [value, shapeWith(build, value, [-1, count])]), count }
}

/** The context as the model laid it out: `heads` is [batch, heads, queries, size]. */
export function asContext(
  build: NodeBuilder,
  view: TransformerModel,
  block: ReadAttention['block'],
  heads: Value,
): Value {
  const axes = view.analysis.axes(block.context) ?? []
  const between = axes.slice(1, -2).map(({ size }) => size.value)
  if (between.length === 1 && between[0] === block.heads) return heads
  if (between.includes(undefined)) {
    // As many windows as the text has: the queries are laid out in the same way.
    const [query] = block.scores?.producer?.inputs ?? []
    const own = (query && view.analysis.axes(query)) ?? []
    const count = axes.length - 2
    const isAlike = own.length === axes.length && own.slice(0, count).every(isSameSize(axes))
    if (!query || !isAlike) throw new Unreadable('the shape of its context is not known')
    const leading = build.sizes(query, 0, count)
    const last = build.sizes(heads, 2, 4)
    return build.op('Reshape', [heads, build.op('Concat', [leading, last], { axis: 0 })])
  }
  // Sizes that are known are numbers: of worked out ones before another Reshape, ONNX Runtime loses track.
  const last = axes.slice(-2).map(({ size }) => size.value)
  const leading = [-1, ...(between as number[])]
  const shape = last.includes(undefined)
    ? shapeWith(build, heads, leading)
    : build.ints(...leading, ...(last as number[]))
  return build.op('Reshape', [heads, shape])
}

const isSameSize =
  (axes: readonly Axis[]) =>
  ({ size }: Axis, index: number): boolean =>
    axes[index]?.size.equals(size) === true

/** int64: `leading`, then the last two sizes of a value. */
export function shapeWith(build: NodeBuilder, value: Value, leading: readonly number[]): Value {
  const shape = build.op('Shape', [value])
  const last = build.op('Slice', [shape, build.ints(-2), build.ints(2 ** 31)])
  return build.op('Concat', [build.ints(...leading), last], { axis: 0 })
}
