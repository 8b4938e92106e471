/** The error for an operator through which no gradient flows: its name, and the way that leads to it. */
import { AttncError } from '../errors.js'
import { captured } from '../graph/extract.js'
import { innerGraphs, type Node, type Value } from '../graph/graph.js'
import { whyNotWritten } from '../graph/write-call.js'
import { gradientRuleNames } from './rules/index.js'

const quantised = /quant|integer|nbits/i

export function missingRule(
  node: Node,
  active: ReadonlySet<Value>,
  wanted: readonly Value[],
): AttncError {
  const path = pathTo(node, active, wanted)
  return new AttncError(
    'GRADIENT_RULE_MISSING',
    'model',
    `There is no gradient rule for ${node.operatorName} ("${node.label}"), which lies between "${path[0]}" and the loss: ${path.join(' → ')}.`,
    { suggestions: [advice(node)] },
  )
}

function advice(node: Node): string {
  const { model } = node.graph
  const called = model.findFunction(node)
  const why = called && whyNotWritten(called, model)
  if (why) return `It is a function of the model, but ${why}: export the model with one opset.`
  if (quantised.test(node.op)) return 'Train the model before it is quantised.'
  if (innerGraphs(node).next().value)
    return 'Gradients do not flow through If, Loop and Scan: export the model without them.'
  return `Operators that have one: ${gradientRuleNames.join(', ')}.`
}

/** From a wanted value to the node, as labels; the middle is left out where it is long. */
function pathTo(node: Node, active: ReadonlySet<Value>, wanted: readonly Value[]): string[] {
  const labels = [node.label]
  for (let at: Node | undefined = node; at; ) {
    const input: Value | undefined = [...at.inputs, ...captured(at)].find(
      (each) => each && active.has(each),
    )
    if (!input) break
    labels.unshift(input.producer?.label ?? input.name)
    if (wanted.includes(input)) break
    at = input.producer
  }
  return labels.length > 8 ? [...labels.slice(0, 3), '…', ...labels.slice(-4)] : labels
}
