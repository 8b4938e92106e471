/** The way from scores to their softmax, node by node. */
import type { Node, Value } from '../graph/graph.js'
import { isMeasure } from '../model/trace.js'

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
function hasMembersOf(value: Value, source: Value): boolean {
  const seen = new Set<Value>([value])
  for (const each of seen) {
    if (each === source) return true
    if (each.producer && !isMeasure(each.producer))
      for (const input of each.producer.inputs) if (input) seen.add(input)
  }
  return false
}
