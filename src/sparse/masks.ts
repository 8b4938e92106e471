/** Masks that stay: those that are not understood as a bias of every pair, padding as a bias of keys. */
import { type Axis, leavesOf } from '../axes/axis.js'
import type { Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { DataType } from '../onnx/data-type.js'
import { shapeWith } from './heads.js'
import type { MaskFacts } from './mask-facts.js'
import { isApart, overRows, overScores, readRows } from './mask-rows.js'
import type { Mask, ReadAttention } from './read.js'
import { Unreadable } from './unreadable.js'

/** [1 or batch, 1 or heads, queries, keys], added to the scores; undefined where no mask is left. */
export function biasOf(
  build: NodeBuilder,
  view: TransformerModel,
  read: ReadAttention,
  facts: MaskFacts,
  { keys, query, type }: { readonly keys: Value; readonly query: Value; readonly type: DataType },
): Value | undefined {
  const kept = facts.kept.map((index) => read.masks[index])
  if (kept.some((mask) => !mask)) throw new Unreadable(`it has ${read.masks.length} masks`)
  const lengths = [build.sizeAlong(query, 2), keys]
  const biases = (kept as Mask[]).map((mask) => {
    const bias = asBias(build, mask, type, read.isCleared)
    if (!isApart(view, read.block, mask)) return withHeads(build, view, read, mask, bias)
    const shape = build.op('Concat', [build.ints(-1, read.heads), ...lengths], { axis: 0 })
    const whole = overScores(build, view, mask, bias)
    return { value: build.op('Reshape', [whole, shape]), heads: read.heads }
  })
  if (biases.length === 0) return undefined
  const sum = biases.map(({ value }) => value).reduce((one, other) => build.op('Add', [one, other]))
  const shape = build.op('Concat', [build.ints(1, 1), ...lengths], { axis: 0 })
  const bias = build.op('Expand', [sum, shape])
  // Who picks heads of it has to know whether it has any.
  const heads = Math.max(...biases.map((each) => each.heads))
  build.edit.setType(bias, { dataType: type, dims: [undefined, heads, undefined, undefined] })
  return bias
}

/** A bias of four axes, and how many heads it has. */
interface HeadBias {
  readonly value: Value
  readonly heads: number
}

/** A query of which all keys are hidden sees all of them alike, unless what hides them is −∞ or it is cleared later. */
function asBias(
  build: NodeBuilder,
  { value, how, fill }: Mask,
  type: DataType,
  isCleared: boolean,
): Value {
  if (how === 'add') return value
  const isNothing = isCleared || fill === Number.NEGATIVE_INFINITY
  const lowest = isNothing ? Number.NEGATIVE_INFINITY : hiddenOf(type)
  const [zero, hidden] = [0, lowest].map((each) => build.number(each, type))
  return build.op('Where', how === 'keep' ? [value, zero, hidden] : [value, hidden, zero])
}

/** Added to a score, it takes the place of it; well above what the kernels hide with. */
const hiddenOf = (type: DataType): number => (type === 'float16' ? -3e4 : -1e9)

/** Laid out as the scores or narrower → four axes. */
function withHeads(
  build: NodeBuilder,
  view: TransformerModel,
  { block, heads }: ReadAttention,
  mask: Mask,
  bias: Value,
): HeadBias {
  const { rows, leading, rank, missing, isHead } = readRows(view, block, mask)
  const isSingle = (axis: Axis | undefined): boolean => !axis || axis.size.isOne
  const front = (count: number): Value =>
    count > 0
      ? build.op('Unsqueeze', [bias, build.ints(...Array.from({ length: count }, (_, i) => i))])
      : bias
  const isPlain = rank === 4 && (isHead(rows[1]) || isSingle(rows[1]))
  if (isPlain) return { value: front(missing), heads: isSingle(leading[1]) ? 1 : heads }
  if (leading.every(isSingle)) {
    const wanted = 4 - (rank - missing)
    return {
      value: wanted < 0 ? build.op('Squeeze', [bias, build.ints(0)]) : front(wanted),
      heads: 1,
    }
  }
  const own = new Set([...block.keyValueHeadAxes, ...block.groupAxes])
  const count = leading
    .flatMap((axis) => (axis ? leavesOf(axis) : []))
    .reduce((product, leaf) => product * (own.has(leaf) ? (leaf.size.value ?? 1) : 1), 1)
  if (count !== heads && count !== 1) throw new Unreadable('a mask is of some of its heads')
  const whole = overRows(build, view, block, mask, front(missing))
  const apart = build.op('Reshape', [whole, shapeWith(build, whole, [-1, count])])
  return { value: apart, heads: count }
}

/** [batch, 1, keys, 1]: 0, and for padding what makes its keys count nothing. */
export function paddingOf(
  build: NodeBuilder,
  { padding }: MaskFacts,
  { softcap }: ReadAttention,
  type: DataType,
  known: Map<string, Value>,
): Value | undefined {
  if (padding === undefined) return undefined
  if (softcap > 0) throw new Unreadable('its padding would pass a soft cap')
  const input = build.edit.graph.inputs.find(({ name }) => name === padding)
  if (!input) throw new Unreadable(`the model has no input "${padding}"`)
  const made =
    known.get(padding) ??
    build.op('Unsqueeze', [
      build.op('Where', [
        build.cast(input, 'bool'),
        build.number(0, type),
        build.number(hiddenOf(type), type),
      ]),
      build.ints(1, 3),
    ])
  known.set(padding, made)
  return made
}
