/** What says yes and no, however it was cast and turned round since. */
import type { Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'

export interface Condition {
  readonly value: Value
  /** Whether yes has become no. */
  readonly isTurned: boolean
}

/** A condition before it was cast and turned round. */
export function conditionOf(shapes: ShapeInfo, told: Value): Condition {
  let value = told
  let isTurned = false
  for (;;) {
    const node = value.producer
    const [source] = node?.inputs ?? []
    const isCast = node?.op === 'Cast' && source && shapes.dataType(source) === 'bool'
    if (node?.domain !== '' || !source || !(isCast || node.op === 'Not')) return { value, isTurned }
    isTurned = isTurned !== (node.op === 'Not')
    value = source
  }
}
