/** Whether numbers are fed that stand for yes and no: others would push scores out of what floats can hold. */
import type { Node, Value } from '../graph/graph.js'
import { lowestSeen } from '../model/lowest-seen.js'
import { isMeasure, isMover } from '../model/trace.js'
import { onlyNumber } from '../onnx/numbers.js'

/** Whether all that becomes of an input is (1 − m) times a number far below: zeros hide, ones don't. */
export function isKeepMask(input: Value): boolean {
  const queue = [input]
  let found = false
  for (let at = 0; at < queue.length; at++)
    for (const { node, index } of queue[at]?.uses ?? []) {
      if (isMeasure(node)) continue
      const [result] = node.outputs
      if (result && isPassed(node, index)) queue.push(result)
      else if (result && index === 1 && isSubtractedFromOne(node) && hides(result)) found = true
      else return false
    }
  return found
}

const isPassed = (node: Node, index: number): boolean =>
  node.domain === '' &&
  (node.op === 'Cast' || isMover(node)) &&
  (index === 0 || node.op === 'Concat')

const isSubtractedFromOne = ({ op, inputs }: Node): boolean =>
  op === 'Sub' && onlyNumber(inputs[0]?.constant) === 1

const hides = ({ uses }: Value): boolean =>
  uses.size > 0 &&
  [...uses].every(({ node, index }) => {
    const factor = onlyNumber(node.inputs[1 - index]?.constant)
    return node.op === 'Mul' && factor !== undefined && factor <= lowestSeen
  })
