/** com.microsoft FusedMatMul: α·A′·B′, operands turned first. */
import { floatAttribute, intAttribute, type Value } from '../../graph/graph.js'
import { unsupported } from '../unsupported.js'
import type { Lowering } from './lowering.js'

export const fusedMatMul: Lowering = (c) => {
  const { node } = c
  const isSet = (name: string): boolean => intAttribute(node, name, 0) === 1
  if (isSet('transBatchA') || isSet('transBatchB')) throw unsupported(node, 'turned batches')
  const turn = (value: Value, name: string): Value => {
    const rank = c.rank(value)
    if (!isSet(name) || rank < 2) return value
    const order = Array.from({ length: rank }, (_, axis) => axis)
    order.push(...order.splice(rank - 2).reverse())
    return c.op('Transpose', [value], { perm: order })
  }
  const product = c.op('MatMul', [turn(c.input(0), 'transA'), turn(c.input(1), 'transB')])
  const alpha = floatAttribute(node, 'alpha', 1)
  return [alpha === 1 ? product : c.op('Mul', [product, c.constant(alpha)])]
}
