/** What the nodes of a region read that they don't make themselves. */
import type { Node, Value } from '../../graph/graph.js'
import { onlyNumber } from '../../onnx/numbers.js'
import type { Apart, RowWork } from './row-work.js'

export interface RegionReads {
  /** Read as numbers; those that are one constant number stand in the program instead. */
  readonly operands: readonly Value[]
  readonly apart: readonly Apart[]
}

export function regionReads(
  nodes: readonly Node[],
  works: ReadonlyMap<Node, RowWork>,
): RegionReads {
  const own = new Set(nodes)
  const all = nodes.flatMap((node) => works.get(node) ?? [])
  const isFromOutside = ({ producer, constant }: Value): boolean =>
    !(producer && own.has(producer)) && onlyNumber(constant) === undefined
  return {
    operands: all.flatMap(({ operands }) => operands.filter(isFromOutside)),
    apart: all.flatMap(({ apart }) => apart),
  }
}
