/**
 * A model of an older version of ai.onnx as one of a later version: what operators took as attributes comes as inputs,
 * and a softmax says its axis. Of a copy that is trained; files keep their version.
 */
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import { innerGraphs, intsAttribute, type Node } from '../graph/graph.js'
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

/** The first version whose ScatterND and ScatterElements can add, as gradients do. */
const NEEDED = 16

/** Error: OPSET_TOO_OLD, where the model is of an older version and some node means something else in a later one. */
export function raiseOpset(edit: GraphEdit): void {
  const { opsets } = edit.graph.model
  if (canRaise(edit, NEEDED)) return
  throw new AttncError(
    'OPSET_TOO_OLD',
    'model',
    `Gradients need opset ${NEEDED}; the model has ${opsets.get('')}.`,
    { suggestions: ['Export the model again with a newer opset.'] },
  )
}

/** False, and nothing done, where it can't be. */
function canRaise(edit: GraphEdit, version: number): boolean {
  const { graph } = edit
  const own = graph.model.opsets.get('') ?? 1
  if (own >= version) return true
  if (own < OLDEST_RAISED) return false
  const isOld = own < OLDEST_ALIKE
  const lasts = isOld ? lastAxes(edit) : new Set<Node>()
  const isAlike = (node: Node): boolean => {
    const isOuter = node.graph === graph
    const isWritten = node.op in listed || node.op === 'Dropout' || lasts.has(node)
    const isSame = !isOld || !isChanged(node) || (isOuter && isWritten)
    const inner = [...innerGraphs(node)].flatMap((each) => [...each.nodes()])
    if (node.domain !== '') return inner.every(isAlike)
    return isSame && !changes(node, Math.max(own, OLDEST_ALIKE), version) && inner.every(isAlike)
  }
  if (![...graph.nodes()].every(isAlike)) return false
  if (isOld) for (const node of [...graph.nodes()]) rewrite(edit, node)
  graph.model.opsets.set('', version)
  return true
}

/** Whether version 13 takes something otherwise than those before. */
const isChanged = ({ op, attributes }: Node): boolean =>
  softmaxes.includes(op) ||
  (op === 'Dropout' && attributes.has('ratio')) ||
  attributes.has(listed[op] ?? '')

/** Softmaxes over the last axis: those over others ran over all axes behind as well. */
function lastAxes({ graph }: GraphEdit): Set<Node> {
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
