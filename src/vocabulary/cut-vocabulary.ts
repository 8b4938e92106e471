/**
 * Tokens taken out of a graph: rows of the tables, scores of the outputs; ids count anew among those that
 * stay. As a mask, the tables stay and new ids are turned into old ones on their way in: the reference.
 */
import { sliceMembers } from '../axes/slice.js'
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import type { TransformerModel } from '../model/model.js'
import { int64Tensor } from '../onnx/tensor.js'
import type { VocabularyCut } from '../plan/plan.js'
import { type FoundVocabulary, findVocabulary } from './find-vocabulary.js'

/** Error: VOCABULARY. */
export function cutVocabulary(
  change: GraphEdit,
  view: TransformerModel,
  cut: VocabularyCut,
  as: 'slice' | 'mask',
): void {
  const found = findVocabulary(view)
  if (typeof found === 'string') throw vocabularyError(found)
  const last = cut.keep.at(-1) ?? -1
  if (found.size !== cut.size || last >= cut.size)
    throw vocabularyError(`it has ${found.size} tokens, and the plan is for ${cut.size}`)
  if (as === 'mask') renumberInside(change, found, cut.keep)
  else sliceMembers(change, view.analysis, new Map(found.axes.map((axis) => [axis, cut.keep])))
}

function renumberInside(
  change: GraphEdit,
  { lookups, scores }: FoundVocabulary,
  keep: readonly number[],
): void {
  const kept = change.constant(int64Tensor([keep.length], keep), 'attnc.keptTokens')
  for (const { node, ids } of lookups) {
    const old = change.add('Gather', [kept, node.inputs[ids]], { before: node })
    const type = { kind: 'int', value: node.op === 'EmbedLayerNormalization' ? 6n : 7n } as const
    const cast = change.add('Cast', [old], { attributes: { to: type }, before: node })
    change.setInput(node, ids, cast)
  }
  for (const output of scores) {
    const { producer, type } = output
    if (!producer) continue
    const between = change.insertAfter(producer, producer.outputs.indexOf(output), {
      op: 'Gather',
      inputs: [kept],
      attributes: { axis: { kind: 'int', value: 2n } },
      between: `${output.name}/all`,
    })
    change.setType(between, type)
    const dims = type?.dims?.with(-1, keep.length)
    change.setType(output, type && { ...type, dims })
  }
}

export const vocabularyError = (reason: string): AttncError =>
  new AttncError('VOCABULARY', 'usage', `The vocabulary of this model can't be cut: ${reason}.`, {
    suggestions: ['Leave --pass vocabulary away, or use the plan with its own model.'],
  })
