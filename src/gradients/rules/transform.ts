/**
 * Linear maps along one axis after the other: the gradient is the transposed map. For Resize the map is
 * what the operator itself makes of a unit matrix, whatever its mode.
 */
import { intAttribute, intsAttribute, stringAttribute, type Value } from '../../graph/graph.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'
import { unsupported } from '../unsupported.js'

const resize: GradientRule = {
  backward(c) {
    const { node } = c
    const mode = stringAttribute(node, 'coordinate_transformation_mode')
    const policy = stringAttribute(node, 'keep_aspect_ratio_policy') ?? 'stretch'
    if (mode === 'tf_crop_and_resize' || policy !== 'stretch')
      throw unsupported(node, `the mode ${mode === 'tf_crop_and_resize' ? mode : policy}`)
    const x = c.input(0)
    const rank = c.rank(x)
    const stated = intsAttribute(node, 'axes') ?? Array.from({ length: rank }, (_, axis) => axis)
    const [before, after] = [c.shapes.dims(x), c.shapes.dims(c.output(0))]
    let g = c.gradient(0) as Value
    for (const [position, axis] of stated.entries()) {
      const [own, made] = [before?.[axis], after?.[axis]]
      // Samples and channels are never resized; that their sizes agree may be unknown.
      if (axis < 2 && rank > 3) continue
      if (own && made && own.equals(made)) continue
      g = alongAxis(c, g, mapAlong(c, axis, position), axis, rank)
    }
    return [g]
  },
}

/** [n, size made of n]: the unit matrix resized along its second axis. */
function mapAlong(c: GradientContext, axis: number, position: number): Value {
  const x = c.input(0)
  const size = c.sizeAlong(x, axis)
  const square = c.op('Concat', [size, size], { axis: 0 })
  const unit = c.op('EyeLike', [c.op('Expand', [c.scalar(0, x), square])])
  const image = c.op('Unsqueeze', [unit, c.ints(0, 1)])
  const operand = (index: number, ones: Value): Value | undefined => {
    const given = c.node.inputs[index]
    if (!given || c.shapes.dims(given)?.[0]?.isZero) return undefined
    const own = c.op('Slice', [given, c.ints(position), c.ints(position + 1)])
    return c.op('Concat', [ones, own], { axis: 0 })
  }
  const whole = c.op('Concat', [c.ints(1, 1), size], { axis: 0 })
  const float = c.op('Cast', [c.ints(1, 1, 1)], { to: 1 })
  const attributes = Object.fromEntries(c.node.attributes)
  delete attributes['axes']
  const scales = operand(2, float)
  const sizes = operand(3, whole)
  const resized = c.op('Resize', [image, undefined, scales, sizes], attributes)
  return c.op('Squeeze', [resized, c.ints(0, 1)])
}

/** g with its axis multiplied by the map's transposed. */
function alongAxis(c: GradientContext, g: Value, map: Value, axis: number, rank: number): Value {
  const order = Array.from({ length: rank }, (_, each) => each)
  const back = c.op('Transpose', [map], { perm: [1, 0] })
  if (axis === rank - 1) return c.op('MatMul', [g, back])
  const swapped = order.map((each) => (each === axis ? rank - 1 : each === rank - 1 ? axis : each))
  const turned = c.op('Transpose', [g], { perm: swapped })
  return c.op('Transpose', [c.op('MatMul', [turned, back])], { perm: swapped })
}

/** Σ over frequencies of g·e^(+iωt): the inverse transform without its division by the length. */
const dft: GradientRule = {
  backward(c) {
    const { node } = c
    if (intAttribute(node, 'onesided', 0) === 1 || node.inputs[1])
      throw unsupported(node, 'one side, or a length of its own')
    const x = c.input(0)
    const rank = c.rank(x)
    const known = node.inputs[2] && c.shapes.integers(c.input(2))?.elements[0]?.value
    const stated = c.opset >= 20 ? (known ?? -2) : intAttribute(node, 'axis', 1)
    const axis = stated < 0 ? stated + rank : stated
    const isInverse = intAttribute(node, 'inverse', 0) === 1
    const inputs = [c.gradient(0), undefined, ...(node.inputs[2] ? [node.inputs[2]] : [])]
    const attributes = Object.fromEntries(node.attributes)
    const turned = c.op('DFT', inputs, { ...attributes, inverse: isInverse ? 0 : 1 })
    const length = c.op('CastLike', [c.op('Reshape', [c.sizeAlong(x, axis), c.ints()]), x])
    const whole = c.op(isInverse ? 'Div' : 'Mul', [turned, length])
    const isReal = c.shapes.dims(x)?.at(-1)?.isOne
    return [isReal ? c.op('Slice', [whole, c.ints(0), c.ints(1), c.ints(-1)]) : whole]
  },
}

export const transformRules: Readonly<Record<string, GradientRule>> = {
  Resize: resize,
  DFT: dft,
}
