/**
 * Rotary positions: pairs of a head's members turned by an angle, (a, b) → (a·cos − b·sin, a·sin + b·cos).
 * Pairs are the two halves of a head, or neighbours where they are interleaved.
 */
import { intAttribute, type Value } from '../../graph/graph.js'
import { mergeHeads, splitHeads } from './attend.js'
import type { Lowering, LoweringContext } from './lowering.js'

export interface Rotation {
  /** Broadcast to [batch, heads, sequence, pairs]. */
  readonly cos: Value
  readonly sin: Value
  readonly isInterleaved: boolean
  /** Members of a head that are turned; the rest stay. */
  readonly turned: number
  readonly headSize: number
}

/** x [batch, heads, sequence, size]. */
export function rotate(c: LoweringContext, x: Value, rotation: Rotation): Value {
  const { turned, headSize, isInterleaved } = rotation
  const names = (count: number): string[] =>
    Array.from({ length: count }, (_, index) => `${c.node.label}/part${index}`)
  if (turned < headSize) {
    const sizes = c.ints(turned, headSize - turned)
    const [own, rest] = c.outputs('Split', [x, sizes], names(2), { axis: -1 })
    const whole = { ...rotation, headSize: turned }
    return c.op('Concat', [rotate(c, own as Value, whole), rest], { axis: -1 })
  }
  const half = turned / 2
  const paired = isInterleaved ? c.op('Reshape', [x, c.ints(0, 0, 0, half, 2)]) : x
  const sizes = isInterleaved ? c.ints(1, 1) : c.ints(half, half)
  const parts = c.outputs('Split', [paired, sizes], names(2), { axis: -1 })
  const last = c.ints(-1)
  const [a, b] = parts.map((part) => (isInterleaved ? c.op('Squeeze', [part, last]) : part))
  const { cos, sin } = rotation
  const times = (left: Value | undefined, right: Value): Value => c.op('Mul', [left, right])
  const results = [
    c.op('Sub', [times(a, cos), times(b, sin)]),
    c.op('Add', [times(a, sin), times(b, cos)]),
  ]
  if (!isInterleaved) return c.op('Concat', results, { axis: -1 })
  const opened = results.map((each) => c.op('Unsqueeze', [each, last]))
  return c.op('Reshape', [c.op('Concat', opened, { axis: -1 }), c.ints(0, 0, 0, turned)])
}

/** Rows of a table [positions, pairs] at [batch, sequence] as [batch, 1, sequence, pairs]. */
export const readTable = (c: LoweringContext, table: Value, positions: Value): Value =>
  c.op('Unsqueeze', [c.op('Gather', [table, positions], { axis: 0 }), c.ints(1)])

/** ai.onnx: X, cos, sin, positions; the tables are already [B, S, pairs] where positions are absent. */
export const standardRotary: Lowering = (c) => {
  const positions = c.find(3)
  const read = (table: Value): Value =>
    positions ? readTable(c, table, positions) : c.op('Unsqueeze', [table, c.ints(1)])
  return rotaryOf(c, c.input(1), read, c.input(2))
}

/** com.microsoft: X, positions ([1], the first one's place, or [B, S]), cos, sin. */
export const contribRotary: Lowering = (c) => {
  const positions = c.input(1)
  const x = c.input(0)
  const places =
    c.rank(positions) === 1
      ? c.op('Unsqueeze', [
          c.op('Add', [c.range(c.sizeAlong(x, c.rank(x) === 4 ? 2 : 1)), positions]),
          c.ints(0),
        ])
      : positions
  return rotaryOf(c, c.input(2), (table) => readTable(c, table, places), c.input(3))
}

function rotaryOf(
  c: LoweringContext,
  cos: Value,
  read: (table: Value) => Value,
  sin: Value,
): Value[] {
  const x = c.input(0)
  const isFlat = c.rank(x) === 3
  const turned = 2 * c.size(cos, -1)
  const heads = c.count('num_heads') || (isFlat ? c.size(x, 2) / turned : 0)
  const headSize = isFlat ? c.size(x, 2) / heads : c.size(x, 3)
  const result = rotate(c, isFlat ? splitHeads(c, x, heads) : x, {
    cos: read(cos),
    sin: read(sin),
    isInterleaved: intAttribute(c.node, 'interleaved', 0) === 1,
    turned,
    headSize,
  })
  return [isFlat ? mergeHeads(c, result) : result]
}
