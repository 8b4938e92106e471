/** Knowing blocks that are masked alike, so that one of them is probed for all. */
import type { Node, Value } from '../graph/graph.js'
import type { LayeredAttention } from '../model/model-dimension.js'

/** Equal for blocks between whose scores and probabilities the same happens with the same operands. */
export function maskKey({ scores, probabilities, node }: LayeredAttention): string {
  if (!scores || !probabilities) return maskInputOf(node)?.name ?? String(node.id)
  const inside = new Set<Node>()
  const seen = new Set<Node>()
  const reaches = (value: Value): boolean => {
    if (value === scores) return true
    const { producer } = value
    if (!producer) return false
    // Once each: ways through what is read twice double with every step.
    if (seen.has(producer)) return inside.has(producer)
    seen.add(producer)
    if (producer === scores.producer || !producer.inputs.some((input) => input && reaches(input)))
      return false
    inside.add(producer)
    return true
  }
  reaches(probabilities)
  return [...inside]
    .map(({ op, inputs }) => {
      const operands = inputs.map((input) => (input === scores ? '' : operandKey(input, inside)))
      return `${op}(${operands})`
    })
    .join()
}

/** Numbers by what they are, values made inside by nothing, others by their name. */
function operandKey(value: Value | undefined, inside: ReadonlySet<Node>): string {
  if (!value || (value.producer && inside.has(value.producer))) return ''
  const { constant } = value
  return constant && constant.byteLength <= 16
    ? `${constant.dataType}${constant.dims}:${constant.bytes()}`
    : value.name
}

/** The operand of a fused operator that is added to, or chosen by, the scores. */
export function maskInputOf(node: Node): Value | undefined {
  if (node.domain === '') return node.inputs[3]
  return node.inputs[5]
}
