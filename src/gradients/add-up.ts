/**
 * Gradients of one value added up. Those that are zeros with some elements added go into what the others
 * sum to, so that as many zeros as a vocabulary or an embedding has are never made.
 */
import type { GraphEdit } from '../graph/edit.js'
import { type Node, stringAttribute, type Value } from '../graph/graph.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'

export function addUp(edit: GraphEdit, parts: readonly Value[], name: string): Value {
  const scattered = parts.filter((part) => scatterOf(part))
  const dense = parts.filter((part) => !scattered.includes(part))
  // Elements have to be added to something.
  if (dense.length === 0) dense.push(scattered.shift() as Value)
  const whole = dense.length === 1 ? (dense[0] as Value) : edit.add('Sum', dense, { output: name })
  return scattered.reduce((sum, part) => addElements(edit, sum, part), whole)
}

/** The node that adds elements to zeros, where its result is a gradient that nothing has read yet. */
export function scatterOf({ producer, uses, isGraphOutput }: Value): Node | undefined {
  if (producer?.op !== 'ScatterElements' && producer?.op !== 'ScatterND') return undefined
  const isAdding = stringAttribute(producer, 'reduction') === 'add'
  return isAdding && isZeros(producer.inputs[0]) && uses.size === 0 && !isGraphOutput
    ? producer
    : undefined
}

function isZeros(value: Value | undefined): boolean {
  const stated = value?.producer?.op === 'ConstantOfShape' && value.producer.attributes.get('value')
  const numbers = stated && stated.kind === 'tensor' ? fromConstant(stated.value) : undefined
  return numbers !== undefined && numbersOf(numbers)[0] === 0
}

function addElements(edit: GraphEdit, sum: Value, part: Value): Value {
  const node = part.producer as Node
  const [, places, updates] = node.inputs
  const attributes = Object.fromEntries(node.attributes)
  eraseScatter(edit, node)
  return edit.add(node.op, [sum, places, updates], { attributes })
}

/** The node and its zeros go. */
export function eraseScatter(edit: GraphEdit, node: Node): void {
  const [zeros] = node.inputs
  edit.erase(node)
  if (zeros?.producer && zeros.uses.size === 0) edit.erase(zeros.producer)
}
