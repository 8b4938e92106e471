/** Convolutions that read each position alone: a product with a matrix, whose channels come before the positions. */
import { intAttribute, intsAttribute, type Node } from '../graph/graph.js'

export function isPointwise(node: Node): boolean {
  const dims = node.inputs[1]?.constant?.dims
  const isAll = (name: string, value: number): boolean =>
    (intsAttribute(node, name) ?? []).every((each) => each === value)
  return (
    node.op === 'Conv' &&
    node.domain === '' &&
    dims !== undefined &&
    dims.length > 2 &&
    dims.slice(2).every((size) => size === 1) &&
    isAll('strides', 1) &&
    isAll('pads', 0) &&
    intAttribute(node, 'group', 1) === 1
  )
}
