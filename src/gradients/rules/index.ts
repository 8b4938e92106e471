/** Every operator's gradient rule, by name; contrib operators carry their domain. */
import type { Node } from '../../graph/graph.js'
import type { GradientRule } from '../gradient-rule.js'
import { activationRules } from './activation.js'
import { contractionRules } from './contraction.js'
import { convolutionRules } from './convolution.js'
import { elementwiseRules } from './elementwise.js'
import { gatherRules } from './gather.js'
import { layoutRules } from './layout.js'
import { normalisationRules } from './normalisation.js'
import { recurrenceRules } from './recurrence.js'
import { reductionRules } from './reduction.js'
import { transformRules } from './transform.js'

const rules: ReadonlyMap<string, GradientRule> = new Map(
  Object.entries({
    ...elementwiseRules,
    ...activationRules,
    ...contractionRules,
    ...convolutionRules,
    ...layoutRules,
    ...normalisationRules,
    ...reductionRules,
    ...gatherRules,
    ...transformRules,
    ...recurrenceRules,
  }),
)

export const gradientRuleNames: readonly string[] = [...rules.keys()].sort()

export const findGradientRule = (node: Node): GradientRule | undefined =>
  rules.get(node.operatorName)
