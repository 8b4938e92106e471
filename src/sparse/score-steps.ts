/** The way from scores to their softmax, node by node. */
import type { Node, Value } from '../graph/graph.js'
import { ancestorsOf, isMeasure } from '../model/trace.js'

export interface ScoreStep {
  readonly node: Node
  /** What of its inputs the scores came in by. */
  readonly from: Value
}

/** undefined where the scores are lost on the way. */
export function scoreSteps(scores: Value, logits: Value): ScoreStep[] | undefined {
  const steps: ScoreStep[] = []
  for (let at = logits; at !== scores; ) {
    const node = at.producer
    const from = node?.inputs.find((input) => input && hasMembersOf(input, scores))
    if (!node || !from) return undefined
    steps.unshift({ node, from })
    at = from
  }
  return steps
}

/** Whether a value depends on more of another than its shape. */
const hasMembersOf = (value: Value, source: Value): boolean =>
  value === source ||
  [...ancestorsOf(value, (node) => !isMeasure(node))].some(
    (node) => !isMeasure(node) && node.inputs.includes(source),
  )
