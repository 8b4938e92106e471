/** Every operator's shape rule, by name; contrib operators carry their domain. */
import type { Node } from '../../graph/graph.js'
import type { ShapeRule } from '../rule.js'
import { attentionRules } from './attention.js'
import { contractionRules } from './contraction.js'
import { contribRules } from './contrib.js'
import { controlFlowRules } from './control-flow.js'
import { creationRules } from './creation.js'
import { elementwiseRules } from './elementwise.js'
import { layoutRules } from './layout.js'
import { normalisationRules } from './normalisation.js'
import { recurrenceRules } from './recurrence.js'
import { selectionRules } from './selection.js'
import { sliceRules } from './slice.js'

export const shapeRules: ReadonlyMap<string, ShapeRule> = new Map(
  Object.entries({
    ...elementwiseRules,
    ...layoutRules,
    ...sliceRules,
    ...selectionRules,
    ...creationRules,
    ...contractionRules,
    ...normalisationRules,
    ...attentionRules,
    ...recurrenceRules,
    ...contribRules,
    ...controlFlowRules,
  }),
)

export const findShapeRule = (node: Node): ShapeRule | undefined =>
  shapeRules.get(node.operatorName)
