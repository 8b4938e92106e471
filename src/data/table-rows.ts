/** Inputs that choose rows of tables which the model holds: what is drawn for them should be any of those. */
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import { downstream, isMover } from '../model/trace.js'

const isPassed = (node: Node): boolean => node.op === 'Cast' || isMover(node)

/** Of how many rows an input's numbers choose, of the smallest table; undefined where they choose none. */
export function tableRows(input: Value): number | undefined {
  const counts = [...downstream(input, isPassed)].flatMap(({ node, index }) => {
    const table = node.op === 'Gather' && index === 1 ? node.inputs[0]?.constant : undefined
    return table?.dims.at(intAttribute(node, 'axis', 0)) ?? []
  })
  return counts.length > 0 ? Math.min(...counts) : undefined
}
