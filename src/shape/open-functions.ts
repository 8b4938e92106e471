/**
 * Calls of model-local functions written out where the model is loaded, those in their bodies too: exporters that
 * keep modules as functions hide weights and products in them. A function that rules know by its name (an operator
 * of attnc's own, a fused one) stays a call. Weights that a body holds are one value for all of its calls.
 */
import { edit, type GraphEdit } from '../graph/edit.js'
import { eraseReplaced } from '../graph/erase-replaced.js'
import type { LocalFunction, Model, Node, Value } from '../graph/graph.js'
import { nodesInside } from '../graph/links.js'
import { whyNotWritten, writeCall } from '../graph/write-call.js'
import { elementCount } from '../onnx/tensor.js'
import { findShapeRule } from './rules/index.js'

export function openFunctions(model: Model): void {
  const { graph } = model
  if (model.functions.length === 0 || ![...graph.nodes()].some((node) => findOpen(node))) return
  edit(graph, 'attnc.functions', (change) => {
    const shared = new Map<Value, Value>()
    const queue = [...graph.nodes()]
    for (const call of queue) {
      const called = findOpen(call)
      if (called) queue.push(...writeOut(change, call, called, shared))
    }
  })
  dropUncalled(model)
}

/** The function that a node calls, where its body can stand in the graph and nothing else is known of it. */
function findOpen(node: Node): LocalFunction | undefined {
  const { model } = node.graph
  const called = findShapeRule(node) ? undefined : model.findFunction(node)
  return called && !whyNotWritten(called, model) ? called : undefined
}

function writeOut(
  change: GraphEdit,
  call: Node,
  called: LocalFunction,
  shared: Map<Value, Value>,
): readonly Node[] {
  const { nodes, outputs } = writeCall(change, call, called)
  const replaced = new Map<Value, Value>()
  for (const [index, output] of call.outputs.entries()) {
    const result = outputs[index]
    if (!output || !result) continue
    change.replaceUses(output, result)
    replaced.set(output, result)
  }
  eraseReplaced(change, call, replaced)
  const made = [...called.body.nodes()].map((node, index) => ({ node, copy: nodes[index] as Node }))
  return made.flatMap(({ node, copy }) => (shareWeight(change, node, copy, shared) ? [] : [copy]))
}

/** A Constant that holds a weight becomes an initializer, which further calls of the function read too. */
function shareWeight(
  change: GraphEdit,
  node: Node,
  copy: Node,
  shared: Map<Value, Value>,
): boolean {
  const [original] = node.outputs
  const [value] = copy.outputs
  const { constant } = value ?? {}
  if (!original || !value || !constant || copy.op !== 'Constant') return false
  if (elementCount(constant.dims) < 2 || !/float/.test(constant.dataType)) return false
  const weight = shared.get(original) ?? change.constant(constant, value.name)
  shared.set(original, weight)
  change.replaceUses(value, weight)
  if (value.isGraphOutput) return false
  change.erase(copy)
  return true
}

/** Functions that nothing calls any more, so that the file doesn't hold their weights twice. */
function dropUncalled(model: Model): void {
  const called = new Set<LocalFunction>()
  const visit = (node: Node): void => {
    for (const inner of [node, ...nodesInside(node)]) {
      const found = model.findFunction(inner)
      if (!found || called.has(found)) continue
      called.add(found)
      for (const each of found.body.nodes()) visit(each)
    }
  }
  for (const node of model.graph.nodes()) visit(node)
  const kept = model.functions.filter((each) => called.has(each))
  model.functions.splice(0, model.functions.length, ...kept)
}
