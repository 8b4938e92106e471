/** Sizes for the open dimensions of a model's inputs, so that it gets so many new tokens and so many in its cache. */
import type { TensorType } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { inferShapes } from '../shape/infer.js'

/** [batch, heads, tokens, size], with a number of tokens that is open. */
const isCache = (type: TensorType | undefined): boolean => {
  const [, heads, tokens, size] = type?.dims ?? []
  const isFloat = Boolean(type?.dataType?.includes('float'))
  return (
    type?.dims?.length === 4 &&
    isFloat &&
    typeof heads === 'number' &&
    typeof size === 'number' &&
    typeof tokens !== 'number'
  )
}

export const holdsCache = ({ graph }: TransformerModel): boolean =>
  graph.inputs.some(({ type }) => isCache(type))

export interface Lengths {
  readonly fresh: number
  readonly past: number
}

/**
 * Sizes by symbol, likely ones first. The keys of the block have to come to the sum, its queries to the
 * new tokens: which of the two a symbol means is for the model to say, by running.
 */
export function* chooseSizes(
  view: TransformerModel,
  block: LayeredAttention,
  { fresh, past }: Lengths,
): IterableIterator<Map<string, number>> {
  const { graph } = view
  const fixed = new Map<string, number>()
  const open = new Set<string>()
  for (const { name, type } of graph.inputs) {
    const isOwn = isCache(type)
    for (const [axis, dim] of (type?.dims ?? []).entries()) {
      const symbol = dim === undefined ? `${name}.${axis}` : dim
      if (typeof symbol !== 'string') continue
      if (axis === 0) fixed.set(symbol, 2)
      else if (isOwn) fixed.set(symbol, past)
      else open.add(symbol)
    }
  }
  const symbols = [...open].filter((symbol) => !fixed.has(symbol)).slice(0, 5)
  if (symbols.length === 0) {
    yield fixed
    return
  }
  const choices = past > 0 ? 2 ** symbols.length : 1
  for (let choice = 0; choice < choices; choice++) {
    const sizes = new Map(fixed)
    for (const [index, symbol] of symbols.entries())
      sizes.set(symbol, (choice >> index) & 1 ? fresh + past : fresh)
    const { scores } = block
    const dims = scores && inferShapes(graph, { overrides: sizes }).dims(scores)
    const [queries, keys] = (dims ?? []).slice(-2).map(({ value }) => value)
    if (queries === fresh && keys === fresh + past) yield sizes
  }
}
