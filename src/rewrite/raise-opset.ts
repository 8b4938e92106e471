/**
 * A model of an older version of ai.onnx as one of a later version: what operators took as attributes comes as inputs,
 * and a softmax says its axis. Of copies that are trained, and of files whose new operators need it; others keep their version.
 */
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import { type Graph, innerGraphs, intsAttribute, type Node } from '../graph/graph.js'
import { changes, OLDEST_ALIKE } from '../graph/opset-changes.js'
import { int64Tensor } from '../onnx/tensor.js'
import { inferShapes } from '../shape/infer.js'

/** The first version in which ranges, padding and bounds are inputs. */
const OLDEST_RAISED = 11

/** What is an input from version 13 on. */
const listed: Readonly<Record<string, string>> = {
  Squeeze: 'axes',
  Unsqueeze: 'axes',
  ReduceSum: 'axes',
  Split: 'split',
}

const softmaxes = ['Softmax', 'LogSoftmax', 'Hardmax']

/** What needs a later version, and the first that it can do with. */
export const needs = {
  /** Whose ScatterND and ScatterElements can add. */
  gradients: { version: 16, says: 'gradients need' },
  /** Whose softmax runs along one axis, and whose sums take axes as an input. */
  sparse: { version: 13, says: 'sparse attention needs' },
  /** Whose QuantizeLinear and DequantizeLinear have an axis. */
  scales: { version: 13, says: 'scales of each output need' },
} as const
type Need = (typeof needs)[keyof typeof needs]

/** Error: OPSET_TOO_OLD, where the model is of an older version and some node means something else in a later one. */
export function raiseOpset(edit: GraphEdit, need: Need): void {
  const { graph } = edit
  const own = graph.model.opsets.get('') ?? 1
  if (own >= need.version) return
  assertRaisable(graph, need)
  if (own < OLDEST_ALIKE) for (const node of [...graph.nodes()]) rewrite(edit, node)
  graph.model.opsets.set('', need.version)
}

/** Changes nothing. Error: OPSET_TOO_OLD. */
export function assertRaisable(graph: Graph, { version, says }: Need): void {
  const own = graph.model.opsets.get('') ?? 1
  if (own >= version) return
  const changed = own < OLDEST_RAISED ? undefined : firstChanged(graph, own, version)
  if (own >= OLDEST_RAISED && !changed) return
  const why = changed
    ? `"${changed.label}" (${changed.op}) means something else in it`
    : `what is older than ${OLDEST_RAISED} is not raised`
  throw new AttncError(
    'OPSET_TOO_OLD',
    'model',
    `The model is of opset ${own}; ${says} ${version}, and ${why}.`,
    { suggestions: ['Export the model again with a newer opset.'] },
  )
}

/** A node that says something else in the later version, and is not written anew. */
function firstChanged(graph: Graph, own: number, version: number): Node | undefined {
  const isOld = own < OLDEST_ALIKE
  const lasts = isOld ? lastAxes(graph) : new Set<Node>()
  const isAlike = (node: Node): boolean => {
    const isOuter = node.graph === graph
    const isWritten = node.op in listed || node.op === 'Dropout' || lasts.has(node)
    const isSame = !isOld || !isChanged(node) || (isOuter && isWritten)
    const inner = [...innerGraphs(node)].flatMap((each) => [...each.nodes()])
    if (node.domain !== '') return inner.every(isAlike)
    return isSame && !changes(node, Math.max(own, OLDEST_ALIKE), version) && inner.every(isAlike)
  }
  return [...graph.nodes()].find((node) => !isAlike(node))
}

/** Whether version 13 takes something otherwise than those before. */
const isChanged = ({ op, attributes }: Node): boolean =>
  softmaxes.includes(op) ||
  (op === 'Dropout' && attributes.has('ratio')) ||
  attributes.has(listed[op] ?? '')

/** Softmaxes over the last axis: those over others ran over all axes behind as well. */
function lastAxes(graph: Graph): Set<Node> {
  const shapes = inferShapes(graph)
  return new Set(
    [...graph.nodes()].filter((node) => {
      const rank = node.inputs[0] && shapes.dims(node.inputs[0])?.length
      const axis = node.attributes.get('axis')
      const at = axis?.kind === 'int' ? Number(axis.value) : 1
      return softmaxes.includes(node.op) && (at === -1 || (rank !== undefined && at === rank - 1))
    }),
  )
}

function rewrite(edit: GraphEdit, node: Node): void {
  if (node.domain !== '' || !isChanged(node)) return
  const name = listed[node.op]
  const numbers = name && intsAttribute(node, name)
  if (name && numbers) {
    const input = edit.constant(
      int64Tensor([numbers.length], [...numbers]),
      `${node.label}/${name}`,
    )
    edit.setAttribute(node, name, undefined)
    edit.setInput(node, 1, input)
  }
  // Where nothing is trained it hands on what it gets.
  if (node.op === 'Dropout') edit.setAttribute(node, 'ratio', undefined)
  if (softmaxes.includes(node.op)) edit.setAttribute(node, 'axis', { kind: 'int', value: -1n })
}
