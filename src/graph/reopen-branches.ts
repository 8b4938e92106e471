/** The names that a model with open branches has once it was written and read again. */
import { closeBranches } from './close-branches.js'
import type { Model } from './graph.js'
import { link } from './links.js'
import { openBranches } from './open-branches.js'

/** The model itself where no branch stands open. */
export function reopenBranches(model: Model): Model {
  const closed = closeBranches(model)
  if (closed === model) return model
  for (const node of closed.graph.nodes()) link(node)
  openBranches(closed)
  return closed
}
