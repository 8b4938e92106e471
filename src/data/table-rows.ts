/** Inputs that choose rows of tables which the model holds: what is drawn for them should be any of those. */
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import { downstream, isMover } from '../model/trace.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'

const isPassed = (node: Node): boolean => node.op === 'Cast' || isMover(node)

/**
 * Of how many rows an input's numbers choose, of the smallest table; undefined where they choose none. Where a table
 * holds several behind each other, as of codebooks, what is added to reach the last one is left for it.
 */
export function tableRows(input: Value): number | undefined {
  const reads = [...downstream(input, isPassed)]
  const counts = reads.flatMap(({ node, index }) => {
    const table = node.op === 'Gather' && index === 1 ? node.inputs[0]?.constant : undefined
    return table?.dims.at(intAttribute(node, 'axis', 0)) ?? []
  })
  const behind = reads.flatMap(({ node, index }) => {
    const offset = node.op === 'Add' ? largest(node.inputs[1 - index]) : undefined
    const [sum] = node.outputs
    const rows = offset !== undefined && sum ? tableRows(sum) : undefined
    return rows !== undefined && offset !== undefined && offset < rows ? [rows - offset] : []
  })
  const all = [...counts, ...behind]
  return all.length > 0 ? Math.min(...all) : undefined
}

/** Of whole numbers that are the same in every run, none below zero. */
function largest(value: Value | undefined): number | undefined {
  const read = value?.constant?.dataType.startsWith('int')
    ? fromConstant(value.constant)
    : undefined
  const numbers = read && numbersOf(read)
  const whole = Array.from(numbers ?? [], Number)
  if (whole.length === 0 || whole.some((each) => each < 0)) return undefined
  return whole.reduce((most, each) => Math.max(most, each), 0)
}
