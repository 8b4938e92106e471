/** The error for an operator that has a rule, in a form that the rule does not cover. */
import { AttncError } from '../errors.js'
import type { Node } from '../graph/graph.js'

export const unsupported = (node: Node, what: string, suggestion?: string): AttncError =>
  new AttncError(
    'GRADIENT_RULE_MISSING',
    'model',
    `"${node.label}" (${node.op}) has ${what}; its gradient is not known.`,
    suggestion ? { suggestions: [suggestion] } : {},
  )
