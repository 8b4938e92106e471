/**
 * What of a model doesn't reach the output that is learned on, as a tower of its own: nothing says
 * what of it may go.
 */
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Value } from '../../src/graph/graph.js'
import { chooseObjective } from '../../src/train/loss/objective.js'
import type { LearnInput } from './input.js'
import type { VtransOptions } from './options.js'

/** Ids of dimensions. Error: NO_OBJECTIVE. */
export function findUnheard(
  { model, view, batches, log }: LearnInput,
  { teacherShare }: Pick<VtransOptions, 'teacherShare'>,
): string[] {
  const { output } = chooseObjective(model, batches, teacherShare > 0)
  const value = model.graph.values.get(output) as Value
  const heard = new Set(extractSubgraph(model.graph, new Map(), [value]).graph.values.keys())
  const unheard = [...view.attention, ...view.feedForward]
    .flatMap(({ dimension }) => dimension ?? [])
    .filter(({ places }) => places.every((place) => !heard.has(place.value.name)))
  const ids = [...new Set(unheard.map(({ id }) => id))]
  if (ids.length > 0)
    log.info(
      `Stays whole, as output "${output}" is learned on and doesn't hear it: ${ids.join(', ')}.`,
    )
  return ids
}
