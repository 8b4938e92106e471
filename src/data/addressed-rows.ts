/**
 * Inputs that number the rows of others: the ends of edges, the graph that a node belongs to. What they hold
 * has to be lower than there are rows, and rows that are numbered are no samples of their own.
 */
import type { Graph, Node, Value } from '../graph/graph.js'
import { isTransparent, upstream } from '../model/trace.js'
import type { Port } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'

/** Whether some input numbers the rows of another, which then are nodes of a graph and no samples. */
export const areGraphs = (inputs: readonly Port[]): boolean =>
  inputs.some(({ rows }) => rows !== undefined && inputs.some(({ dims }) => dims[0] === rows))

/** By input: how many rows its numbers choose from, where that is a number or the name of an open size. */
export function findAddressedRows(graph: Graph): ReadonlyMap<string, number | string> {
  const inputs = new Set(graph.inputs.filter(isWhole))
  const reads = [...graph.nodes()].flatMap((node) => readOf(node, inputs) ?? [])
  const found = new Map<string, number | string>()
  if (reads.length === 0) return found
  const shapes = inferShapes(graph)
  for (const { node, rows, from } of reads) {
    // Of several axes that are addressed, the numbers may choose from another than the rows.
    const depth = node.op.endsWith('ND') && node.inputs[1] && shapes.dims(node.inputs[1])?.at(-1)
    if (depth && !depth.isOne) continue
    const size = shapes.dims(rows)?.[0]
    const count = size?.value ?? (size && namedBy(graph, size.toString()))
    if (count === undefined) continue
    for (const { name } of from) {
      const known = found.get(name)
      const isLower = typeof count === 'number' && (typeof known !== 'number' || count < known)
      if (known === undefined || isLower) found.set(name, count)
    }
  }
  return found
}

const isWhole = ({ type, constant }: Value): boolean =>
  !constant && (type?.dataType === 'int64' || type?.dataType === 'int32')

/** The rows that a node picks or adds to by numbers that are fed. */
function readOf(
  node: Node,
  inputs: ReadonlySet<Value>,
): { readonly node: Node; readonly rows: Value; readonly from: readonly Value[] } | undefined {
  if (node.domain !== '' || !/^(Gather|Scatter)/.test(node.op)) return undefined
  const [rows, index] = node.inputs
  const axis = node.attributes.get('axis')
  if (!rows || !index || rows.constant || (axis?.kind === 'int' && axis.value !== 0n))
    return undefined
  // Of numbers that are themselves picked, rows are those of what picks.
  if (inputs.has(rows)) return undefined
  const from = new Set<Value>([index])
  for (const each of upstream(index))
    if (isTransparent(each)) for (const value of each.inputs) if (value) from.add(value)
  const fed = [...from].filter((value) => inputs.has(value))
  return fed.length > 0 ? { node, rows, from: fed } : undefined
}

const namedBy = (graph: Graph, symbol: string): string | undefined =>
  graph.inputs.some(({ type }) => type?.dims?.includes(symbol)) ? symbol : undefined
