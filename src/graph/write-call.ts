/**
 * A call of a model-local function written out: the body's nodes in the graph itself, under names of their own,
 * with the call's inputs and attributes in the places of the function's. Calls in the body stay calls.
 */
import type { GraphEdit } from './edit.js'
import { copyAttribute } from './extract.js'
import type { Attribute, LocalFunction, Model, Node, Value } from './graph.js'
import { constantOf } from './import-attribute.js'
import { nodesInside } from './links.js'
import { changes, OLDEST_ALIKE } from './opset-changes.js'

export interface WrittenCall {
  readonly nodes: readonly Node[]
  /** By the call's output slots. */
  readonly outputs: readonly (Value | undefined)[]
}

/** Why the nodes of a function's body would mean something else in the model; undefined where they don't. */
export function whyNotWritten({ body, opsets }: LocalFunction, model: Model): string | undefined {
  // What a call of another function means is said by that function, whatever version its domain has.
  const operators = [...body.nodes()]
    .flatMap((node) => [node, ...nodesInside(node)])
    .filter((node) => !model.findFunction(node))
  for (const [domain, version] of opsets) {
    const own = model.opsets.get(domain) ?? version
    const [from, to] = [Math.min(own, version), Math.max(own, version)]
    if (from === to) continue
    const those = operators.filter((node) => node.domain === domain)
    if (those.length === 0) continue
    const said = `its body is of opset ${version} of ${domain || 'ai.onnx'}, the model of ${own}`
    if (domain !== '' || from < OLDEST_ALIKE || version > own) return said
    const changed = those.find((each) => changes(each, from, to))
    if (changed) return `${said}, and ${changed.op} changed in between`
  }
  return undefined
}

/** The call itself stays; who reads its outputs is not touched. */
export function writeCall(edit: GraphEdit, call: Node, called: LocalFunction): WrittenCall {
  const { opsets } = edit.graph.model
  for (const [domain, version] of called.opsets)
    if (!opsets.has(domain)) opsets.set(domain, version)
  const { body } = called
  const stands = new Map<Value, Value | undefined>(
    body.inputs.map((input, index) => [input, call.inputs[index]]),
  )
  const prefix = `${call.label}/`
  const bind = (attribute: Attribute): Attribute | undefined =>
    attribute.kind === 'reference'
      ? (call.attributes.get(attribute.value) ?? called.defaults.get(attribute.value))
      : attribute
  const copyOf = (value: Value): Value | undefined => {
    if (!stands.has(value) && value.constant)
      stands.set(value, edit.constant(value.constant, prefix + value.name))
    return stands.get(value)
  }
  const nodes = [...body.nodes()].map((node) => {
    const made = edit.addNode({
      op: node.op,
      domain: node.domain,
      overload: node.overload,
      inputs: node.inputs.map((input) => input && copyOf(input)),
      outputs: node.outputs.map((output) => output && prefix + output.name),
      attributes: Object.fromEntries(
        [...node.attributes].flatMap(([name, attribute]) => {
          const own = copyAttribute(attribute, edit.graph, { copyOf, prefix, bind })
          return own ? [[name, own]] : []
        }),
      ),
      before: call,
    })
    for (const [index, output] of node.outputs.entries())
      if (output) stands.set(output, made.outputs[index])
    if (made.op === 'Constant' && made.domain === '') nameConstant(made)
    return made
  })
  const outputs = call.outputs.map((_, index) => {
    const output = body.outputs[index]
    return output && copyOf(output)
  })
  return { nodes, outputs }
}

/** As on import: what a Constant makes is known. */
function nameConstant(node: Node): void {
  const [output] = node.outputs
  const constant = constantOf(node)
  if (!output || !constant) return
  output.constant = constant
  output.type = { dataType: constant.dataType, dims: constant.dims }
}
