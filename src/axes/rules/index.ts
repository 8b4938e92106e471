/** Every operator's axis rule, by name; contrib operators carry their domain. */
import type { Node } from '../../graph/graph.js'
import type { AxisRule } from '../rule.js'
import { attentionRules } from './attention.js'
import { contractionRules } from './contraction.js'
import { convolutionRules } from './convolution.js'
import { elementwiseRules } from './elementwise.js'
import { gatherRules } from './gather.js'
import { layoutRules } from './layout.js'
import { normalisationRules } from './normalisation.js'
import { recurrenceRules } from './recurrence.js'
import { scatterRules } from './scatter.js'

export const axisRules: ReadonlyMap<string, AxisRule> = new Map(
  Object.entries({
    ...elementwiseRules,
    ...contractionRules,
    ...layoutRules,
    ...normalisationRules,
    ...gatherRules,
    ...scatterRules,
    ...convolutionRules,
    ...attentionRules,
    ...recurrenceRules,
  }),
)

export const findAxisRule = (node: Node): AxisRule | undefined => axisRules.get(node.operatorName)
