/** Whether data that two models read with tokenizers of their own are the same tokens under other numbers. */
import { AttncError } from '../errors.js'
import type { Batch } from './batch.js'

/** Every row is as long for both, and every token of one is always the same token of the other. */
export function isSameTexts(one: readonly Batch[], other: readonly Batch[]): boolean {
  const [rows, others] = [rowsOf(one), rowsOf(other)]
  const [there, back] = [new Map<number, number>(), new Map<number, number>()]
  return (
    rows.length === others.length &&
    rows.every((row, at) => {
      const its = others[at] ?? []
      return (
        row.length === its.length &&
        row.every((id, i) => pairs(there, id, its[i]) && pairs(back, its[i], id))
      )
    })
  )
}

/** Worth asking before rows are compared with each other. Error: TOKENIZERS_DIFFER. */
export function assertSameTexts(one: readonly Batch[], other: readonly Batch[]): void {
  if (isSameTexts(one, other)) return
  throw new AttncError(
    'TOKENIZERS_DIFFER',
    'usage',
    `The two models cut the data into other tokens, ${countTokens(one)} and ${countTokens(other)}, so what they say can't be compared one by one.`,
    {
      suggestions: [
        'Give a text of tokens that both have, or compare by "attnc eval --metric perplexity".',
      ],
    },
  )
}

export const countTokens = (batches: readonly Batch[]): number =>
  rowsOf(batches).reduce((sum, row) => sum + row.length, 0)

const rowsOf = (batches: readonly Batch[]) => batches.flatMap(({ ids }) => ids)

function pairs(known: Map<number, number>, id: number | undefined, other: number | undefined) {
  if (id === undefined || other === undefined) return false
  const before = known.get(id)
  if (before === undefined) known.set(id, other)
  return before === undefined || before === other
}
