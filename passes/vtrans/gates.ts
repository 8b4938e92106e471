/**
 * Gates: every member's contribution times its number, at the place where members are summed (the
 * contraction of their axis), so that a zero means what the member's removal means.
 */
import { membersAlong, NO_MEMBER } from '../../src/axes/members.js'
import type { Value } from '../../src/graph/graph.js'
import type { TransformerModel } from '../../src/model/model.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import type { Mask, MaskSet } from './masks.js'

export interface GateSite {
  /** Nodes stand before the contraction. */
  readonly builder: NodeBuilder
  /** What is multiplied. */
  readonly value: Value
  readonly mask: Mask
  /** Unit of the mask at each position of the axis, or NO_MEMBER. */
  readonly units: readonly number[]
  /** Axes of `value` behind the gated one. */
  readonly trailing: number
  /** Number of the site, from 0. */
  readonly index: number
}

/** Multiplies what `make` gives in before every contraction of a masked axis; how many sites there are. */
export function insertGates(
  builder: NodeBuilder,
  { analysis }: TransformerModel,
  { masks }: MaskSet,
  make: (site: GateSite) => Value,
): number {
  const done = new Map<string, Value>()
  const isOpen = (value: Value | undefined) => value !== undefined && !analysis.isConstant(value)
  let index = 0
  for (const { node, operands } of analysis.contractions) {
    const operand = operands.find(({ input }) => isOpen(node.inputs[input]))
    if (!operand) continue
    const source = node.inputs[operand.input] as Value
    const rank = analysis.axes(source)?.length ?? 0
    for (const mask of masks)
      for (const members of membersAlong(operand.what, mask.dimension.axis)) {
        const value = node.inputs[operand.input] as Value
        const units = members.map((member) => unitOf(mask, member))
        const trailing = rank - operand.axis - 1
        // What several products read is gated once.
        const key = [value.name, operand.axis, mask.offset, units].join(' ')
        const before = new NodeBuilder(builder.edit, builder.shapes, node)
        const gated =
          done.get(key) ??
          multiply(
            before,
            value,
            make({ builder: before, value, mask, units, trailing, index: index++ }),
            analysis.shapes.dataType(source) ?? 'float32',
          )
        done.set(key, gated)
        builder.edit.setInput(node, operand.input, gated)
      }
  }
  return index
}

/** Gates are single precision, whatever the model computes in. */
function multiply(b: NodeBuilder, value: Value, gate: Value, type: DataType): Value {
  return b.op('Mul', [value, type === 'float32' ? gate : b.cast(gate, type)])
}

export function unitOf({ dimension, isWhole }: Mask, member: number): number {
  if (member === NO_MEMBER) return NO_MEMBER
  return isWhole ? 0 : Math.floor(member / dimension.granularity)
}

/** Numbers of a mask, one a unit, spread along the axis of a site; `absent` where there is no member. */
export function spread(
  { builder: b, mask, units, trailing }: Pick<GateSite, 'builder' | 'mask' | 'units' | 'trailing'>,
  numbers: Value,
  absent: number,
): Value {
  const length = units.length
  const shaped = (value: Value): Value =>
    trailing === 0
      ? value
      : b.op('Reshape', [value, b.ints(length, ...Array<number>(trailing).fill(1))])
  if (units.length === mask.size && units.every((unit, at) => unit === at)) return shaped(numbers)
  // A product with zeros and ones: its gradient is one too.
  const chosen = new Float32Array(mask.size * length)
  for (const [at, unit] of units.entries()) if (unit >= 0) chosen[unit * length + at] = 1
  const along = b.op('MatMul', [
    numbers,
    b.edit.constant(float32Tensor([mask.size, length], chosen)),
  ])
  if (absent === 0 || !units.includes(NO_MEMBER)) return shaped(along)
  const rest = units.map((unit) => (unit === NO_MEMBER ? absent : 0))
  return shaped(b.op('Add', [along, b.edit.constant(float32Tensor([length], rest))]))
}
