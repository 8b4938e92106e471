/** If, Loop and Scan: shapes inside their graphs, and what both ways or every turn agree on. */
import { innerGraphs, intAttribute, intsAttribute } from '../../graph/graph.js'
import { reachableGraphs } from '../reachable.js'
import type { ShapeRule } from '../rule.js'
import type { Size } from '../symbolic.js'

const branch: ShapeRule = (context) => {
  const graphs = reachableGraphs(context.node, context.elements(0)).map((graph) => ({
    graph,
    shapes: context.infer(graph),
  }))
  for (const index of context.node.outputs.keys()) {
    const results = graphs.map(({ graph, shapes }) => {
      const output = graph.outputs[index]
      return output && { dims: shapes.dims(output), type: shapes.dataType(output) }
    })
    const [first] = results
    const isSameRank = results.every(
      (each) => each?.dims && each.dims.length === first?.dims?.length,
    )
    const dims = isSameRank
      ? first?.dims?.map((size, axis) =>
          results.every((each) => each?.dims?.[axis]?.equals(size)) ? size : undefined,
        )
      : undefined
    context.set(index, dims, first?.type)
    const [only, other] = graphs
    const output = only?.graph.outputs[index]
    if (output && !other) context.setElements(index, only.shapes.integers(output))
  }
}

/** Carried values keep their type; stacked outputs of a Loop gain an axis. */
const loop: ShapeRule = (context) => {
  const [body] = innerGraphs(context.node)
  if (!body) return
  const shapes = context.infer(body)
  const carried = context.node.inputs.length - 2
  for (const index of context.node.outputs.keys()) {
    const output = body.outputs[index + 1]
    const inner: readonly (Size | undefined)[] | undefined = output && shapes.dims(output)
    const type = output && shapes.dataType(output)
    if (index < carried) {
      const before = context.dims(index + 2)
      const isFixed = before && inner && before.length === inner.length
      context.set(
        index,
        isFixed
          ? before.map((size, axis) => (inner[axis]?.equals(size) ? size : undefined))
          : undefined,
        type ?? context.dataType(index + 2),
      )
    } else context.set(index, inner && [undefined, ...inner], type)
  }
}

/**
 * States keep their shape from one position to the next; results are stacked along an axis of the
 * scanned inputs' length.
 */
const scan: ShapeRule = (context) => {
  const { node } = context
  const [body] = innerGraphs(node)
  const scanned = intAttribute(node, 'num_scan_inputs', 0)
  const states = node.inputs.length - scanned
  // Opset 8 has lengths in front and a batch around everything.
  if (!body || node.outputs.length < body.outputs.length) return
  const shapes = context.infer(body)
  const axes = intsAttribute(node, 'scan_output_axes')
  const length = context.dims(states)?.[intsAttribute(node, 'scan_input_axes')?.[0] ?? 0]
  for (const [index, output] of body.outputs.entries()) {
    const type = shapes.dataType(output)
    if (index < states) {
      context.set(index, context.dims(index), type ?? context.dataType(index))
      continue
    }
    const inner: (Size | undefined)[] | undefined = shapes.dims(output)?.slice()
    const axis = axes?.[index - states] ?? 0
    inner?.splice(axis < 0 ? inner.length + 1 + axis : axis, 0, length)
    context.set(index, inner, type)
  }
}

export const controlFlowRules: Readonly<Record<string, ShapeRule>> = {
  If: branch,
  Loop: loop,
  Scan: scan,
}
