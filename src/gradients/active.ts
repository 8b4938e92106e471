/** What depends on what in a graph, as far as gradients are concerned. */
import { EdgeSums } from '../axes/edge-sums.js'
import { findShifts } from '../axes/shift.js'
import type { GraphEdit } from '../graph/edit.js'
import { captured } from '../graph/extract.js'
import type { Node, Value } from '../graph/graph.js'
import { isFloating } from '../onnx/data-type.js'
import type { ShapeInfo } from '../shape/infer.js'

/** What depends on the wanted values, through floating numbers only; what cancels on the way carries none. */
export function activeValues(
  edit: GraphEdit,
  shapes: ShapeInfo,
  wanted: readonly Value[],
): Set<Value> {
  const active = new Set(wanted)
  const shifts = findShifts(edit.graph, new EdgeSums(shapes))
  for (const node of edit.graph.nodes()) {
    if (shifts.has(node) || !reads(node, active)) continue
    for (const output of node.outputs) {
      const type = output && shapes.dataType(output)
      if (output && (type === undefined || isFloating(type))) active.add(output)
    }
  }
  return active
}

/** Whether a node, or a graph inside it, reads one of these values. */
export function reads(node: Node, values: ReadonlySet<Value>): boolean {
  for (const input of [...node.inputs, ...captured(node)])
    if (input && values.has(input)) return true
  return false
}

/** What depends on these values in any way. */
export function dependents({ graph }: GraphEdit, sources: readonly Value[]): Set<Value> {
  const found = new Set(sources)
  for (const node of graph.nodes())
    if (reads(node, found)) for (const output of node.outputs) if (output) found.add(output)
  return found
}
