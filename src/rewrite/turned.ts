/**
 * Keys with their last two axes turned, as exporters write it: in one step, or with batch and heads
 * as one axis meanwhile.
 */
import { intsAttribute, type Node, type Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'

/** [B, H, T, D] of [B, H, D, T]; undefined where it isn't turned. */
export function beforeTurn(value: Value, shapes: ShapeInfo): Value | undefined {
  const { producer } = value
  if (isTurn(producer, '0,1,3,2')) return producer?.inputs[0]
  const turn = inputOf(producer, 'Reshape')?.producer
  const whole = isTurn(turn, '0,2,1') ? inputOf(turn?.inputs[0]?.producer, 'Reshape') : undefined
  const [flat] = turn?.inputs ?? []
  const [B, H, T, D] = (whole && shapes.dims(whole)) ?? []
  if (!flat || !B || !H || !T || !D) return undefined
  // Batch and heads are put together and taken apart again, and nothing else.
  const isFlat = isOf(shapes.dims(flat)?.slice(1), [T, D])
  return isFlat && isOf(shapes.dims(value), [B, H, D, T]) ? whole : undefined
}

const isOf = (dims: readonly Size[] | undefined, sizes: readonly Size[]): boolean =>
  dims?.length === sizes.length && sizes.every((size, axis) => dims[axis]?.equals(size))

const isTurn = (node: Node | undefined, perm: string): boolean =>
  node?.op === 'Transpose' && String(intsAttribute(node, 'perm')) === perm

const inputOf = (node: Node | undefined, op: string): Value | undefined =>
  node?.op === op && node.domain === '' ? node.inputs[0] : undefined
