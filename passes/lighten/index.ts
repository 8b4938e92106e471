/** The same results by less work, in standard operators: nothing goes but what was computed in vain. */
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { ChosenPass, Pass, PassContext } from '../../src/plan/pass.js'
import type { PlanPart } from '../../src/plan/plan.js'
import { lighten as lightenGraph } from '../../src/rewrite/lighten.js'

interface LightenOptions {
  /** Whether a graph with nothing to do in it is worth a warning and an entry in the plan. Default yes. */
  readonly isAskedFor?: boolean
}

/** The pass as `prune` takes it. */
export function lighten(options: LightenOptions = {}): ChosenPass {
  return { name: 'lighten', phase: 'lighten', decide: async (context) => decide(context, options) }
}

/** Tried on a copy: a plan says that it is done, and the graph then how. */
function decide(
  { model, log }: PassContext,
  { isAskedFor = true }: LightenOptions,
): PlanPart | readonly PlanPart[] {
  const copy = extractSubgraph(model.graph, new Map(), model.graph.outputs)
  const found = edit(copy.graph, 'attnc.lighten', lightenGraph)
  const { grouped, scaled, casts, norms } = found
  if (grouped + scaled + casts + norms === 0) {
    if (!isAskedFor) return []
    log.warn(
      'NOTHING_LIGHTER',
      'The graph repeats no keys or values, scales no scores that could be scaled as queries, and has no idle casts or norms that could be said shorter.',
    )
    return { pass: 'lighten', options: {}, slices: [] }
  }
  log.info(
    `${grouped} products read shared keys or values once, ${scaled} scores are scaled as queries, ${casts} idle casts go, ${norms} norms become one pass each.`,
  )
  return { pass: 'lighten', options: {}, slices: [], lighter: true }
}

export const lightenPass: Pass = {
  name: 'lighten',
  summary: 'computes the same by less work: shared keys are not repeated',
  flags: ['lighten'],
  isAskedFor: (flags) => flags['lighten'] === true,
  read: (flags) =>
    lighten({
      isAskedFor:
        flags['lighten'] === true || (flags['pass'] as readonly string[]).includes('lighten'),
    }),
}
