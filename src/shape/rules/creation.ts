/** Shapes of operators that make a tensor of sizes, or sizes of a tensor. */
import { intAttribute, intsAttribute } from '../../graph/graph.js'
import { type DataType, findDataType } from '../../onnx/data-type.js'
import { elementCount } from '../../onnx/tensor.js'
import { isSmall, readElements } from '../elements.js'
import type { ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'
import { fromFront, numbersOf, product, vector } from './operand-values.js'

const shape: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return context.set(0, undefined, 'int64')
  const start = fromFront(intAttribute(context.node, 'start', 0), from.length)
  const end = fromFront(intAttribute(context.node, 'end', from.length), from.length)
  const elements = from.slice(Math.max(start, 0), Math.max(end, 0))
  context.set(0, [Size.of(elements.length)], 'int64')
  context.setElements(0, { dims: [elements.length], elements })
}

const size: ShapeRule = (context) => {
  const from = context.dims(0)
  context.set(0, [], 'int64')
  if (from) context.setElements(0, { dims: [], elements: [product(from)] })
}

const constantOfShape: ShapeRule = (context) => {
  const value = context.node.attributes.get('value')
  const tensor = value?.kind === 'tensor' ? value.value : undefined
  const type: DataType = tensor?.dataType ?? 'float32'
  const target = vector(context, 0)
  if (!target) return context.set(0, undefined, type)
  context.set(0, target, type)
  const dims = numbersOf(target.every((each) => each) ? (target as Size[]) : undefined)
  const fill = tensor ? readElements(tensor)?.elements[0] : Size.of(0)
  if (dims && fill && isSmall(dims))
    context.setElements(0, { dims, elements: Array(elementCount(dims)).fill(fill) })
}

const eyeLike: ShapeRule = (context) =>
  context.set(
    0,
    context.dims(0),
    findDataType(intAttribute(context.node, 'dtype', 0)) ?? context.dataType(0),
  )

const constant: ShapeRule = () => {}

const randomShape: ShapeRule = (context) =>
  context.set(
    0,
    intsAttribute(context.node, 'shape')?.map((n) => Size.of(n)),
    findDataType(intAttribute(context.node, 'dtype', 1)),
  )

export const creationRules: Readonly<Record<string, ShapeRule>> = {
  Shape: shape,
  Size: size,
  ConstantOfShape: constantOfShape,
  EyeLike: eyeLike,
  Constant: constant,
  RandomNormal: randomShape,
  RandomUniform: randomShape,
}
