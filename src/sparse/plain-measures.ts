/**
 * Who asks scores or probabilities for their sizes asks the inputs of the model, or queries and keys: attention over
 * blocks has no scores.
 */
import type { GraphEdit } from '../graph/edit.js'
import { intAttribute, type Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { sizesOf } from '../node-builder/sizes.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import type { Size } from '../shape/symbolic.js'
import { scoreSteps } from './score-steps.js'

/** Whether anything was written anew. */
export function writeMeasures(
  edit: GraphEdit,
  { analysis: { shapes } }: TransformerModel,
  blocks: readonly LayeredAttention[],
): boolean {
  let found = false
  for (const block of blocks) {
    const readers = valuesBetween(block).flatMap(({ uses }) => [...uses].map(({ node }) => node))
    for (const node of new Set(readers)) {
      const [measured] = node.inputs
      const [result] = node.outputs
      if (node.op !== 'Shape' || node.domain !== '' || !measured || !result) continue
      const end = node.attributes.has('end') ? intAttribute(node, 'end', 0) : undefined
      const dims = shapes.dims(measured)?.slice(intAttribute(node, 'start', 0), end)
      const build = new NodeBuilder(edit, shapes, node)
      const sizes = dims && measure(build, block, dims)
      if (!sizes) continue
      edit.replaceUses(result, sizes)
      eraseUnread(edit, node)
      found = true
    }
  }
  return found
}

/** int64 [n]; undefined where neither the inputs nor what makes the scores has one of the sizes. */
function measure(
  build: NodeBuilder,
  { scores }: LayeredAttention,
  dims: readonly Size[],
): Value | undefined {
  const whole = sizesOf(build, dims)
  if (whole) return whole
  const operands = scores?.producer?.inputs ?? []
  const sizes = dims.map((size) => {
    const known = sizesOf(build, [size])
    if (known) return known
    for (const operand of operands) {
      const axis = operand && build.shapes.dims(operand)?.findIndex((each) => each.equals(size))
      if (operand && axis !== undefined && axis >= 0) return build.sizeAlong(operand, axis)
    }
    return undefined
  })
  return sizes.every((size) => size !== undefined)
    ? build.op('Concat', sizes, { axis: 0 })
    : undefined
}

/** From the scores to the softmax, and from the probabilities to what weighs the values. */
function valuesBetween({ scores, node, probabilities, context }: LayeredAttention): Value[] {
  const [logits] = node.inputs
  const before = (scores && logits && scoreSteps(scores, logits)) ?? []
  const weights = context.producer?.inputs.flatMap((input) => {
    const after = input && probabilities && scoreSteps(probabilities, input)
    return after ? [...after.map(({ from }) => from), input] : []
  })
  return [...before.map(({ from }) => from), ...(weights ?? [])]
}
