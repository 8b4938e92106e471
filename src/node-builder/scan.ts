/**
 * A loop over positions: states go from one to the next, results of each are stacked. As one Scan, whose
 * body may read what stands around it, so that a text of any length takes the same nodes.
 */
import { GraphEdit } from '../graph/edit.js'
import { Graph, type Value } from '../graph/graph.js'
import { NodeBuilder } from './node-builder.js'

export interface ScanSpec {
  readonly name: string
  readonly states: readonly Value[]
  /** [positions, ...] each; the body reads one position of them. */
  readonly inputs: readonly Value[]
  /** From the last position to the first; results lie where the positions do. */
  readonly isBackward: boolean
  readonly body: (
    b: NodeBuilder,
    states: readonly Value[],
    inputs: readonly Value[],
  ) => { readonly states: readonly Value[]; readonly results: readonly Value[] }
}

export interface Scanned {
  /** After the last position. */
  readonly states: readonly Value[]
  /** [positions, ...] each. */
  readonly results: readonly Value[]
}

export function scan(b: NodeBuilder, spec: ScanSpec): Scanned {
  const { name, states, inputs, isBackward } = spec
  const { graph } = b.edit
  const inner = new Graph(`${name}/position`, graph.model, graph)
  const change = new GraphEdit(inner, inner.name)
  const own = new NodeBuilder(change, b.shapes)
  const enter = (value: Value, skip: number): Value => {
    const sizes = b.shapes.dims(value)?.slice(skip)
    return change.addInput(
      `${inner.name}/in`,
      b.typeOf(value),
      sizes?.map((size) => size.value),
    )
  }
  const [before, read] = [
    states.map((each) => enter(each, 0)),
    inputs.map((each) => enter(each, 1)),
  ]
  const made = spec.body(own, before, read)
  // Each output is a value of its own.
  for (const each of [...made.states, ...made.results]) change.expose(own.op('Identity', [each]))
  const order = isBackward ? 1 : 0
  const node = b.edit.addNode({
    op: 'Scan',
    inputs: [...states, ...inputs],
    outputs: inner.outputs.map(() => `${name}/scanned`),
    attributes: {
      body: { kind: 'graph', value: inner },
      num_scan_inputs: { kind: 'int', value: BigInt(inputs.length) },
      scan_input_directions: { kind: 'ints', value: inputs.map(() => BigInt(order)) },
      scan_output_directions: { kind: 'ints', value: made.results.map(() => BigInt(order)) },
    },
    before: b.before,
  })
  const outputs = node.outputs as readonly Value[]
  return { states: outputs.slice(0, states.length), results: outputs.slice(states.length) }
}
