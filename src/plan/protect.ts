/** What the user wants to stay whole, read kindly: `layer 0`, `0-2`, `last`, `layer.0.width`, `attention.3`. */
import { AttncError } from '../errors.js'
import type { TransformerModel } from '../model/model.js'

/** Numbers of layers, ids of dimensions, keys of blocks. Error: PROTECT_UNKNOWN. */
export function parseProtect(
  texts: readonly string[],
  view: TransformerModel,
): (number | string)[] {
  return texts.flatMap((text) => text.split(',')).flatMap((text) => parseOne(text.trim(), view))
}

function parseOne(text: string, view: TransformerModel): (number | string)[] {
  const isId = view.dimensions.some(({ id }) => id === text)
  const block = /^(attention|feedForward)\.(\d+)$/.exec(text)
  if (isId || (block && Number(block[2]) < view[block[1] as 'attention'].length)) return [text]
  const last = view.layers - 1
  const match = /^(?:layers?[ .:]?)?\s*(first|last|\d+)(?:\s*(?:-|–|\.\.|to)\s*(last|\d+))?$/i.exec(
    text,
  )
  const number = (word: string): number =>
    word === 'first' ? 0 : word === 'last' ? last : Number(word)
  const from = match?.[1] === undefined ? Number.NaN : number(match[1].toLowerCase())
  const to = match?.[2] === undefined ? from : number(match[2].toLowerCase())
  if (from <= to && to <= last) return Array.from({ length: to - from + 1 }, (_, i) => from + i)
  throw new AttncError(
    'PROTECT_UNKNOWN',
    'usage',
    `"${text}" can't be protected: the model has layers 0 to ${last} and no dimension of that name.`,
    {
      suggestions: [
        "Write a layer ('layer 0'), a range ('0-2'), 'last', or an id that \"attnc inspect --explain\" prints.",
      ],
    },
  )
}
