/** The door between the rules of operators and the analysis that keeps what they say. */
import type { Node } from '../graph/graph.js'
import { Size } from '../shape/symbolic.js'
import type { AxisAnalysis } from './analysis.js'
import { Axis, leastCommonMultiple } from './axis.js'
import type { RuleContext } from './rule.js'
import { matchProducts, productOf, sumOf, unify } from './unify.js'

/** What a rule sees of its node, and how it says what the axes have to do with each other. */
export function contextOf(analysis: AxisAnalysis, node: Node): RuleContext {
  const join = (left: Axis | undefined, right: Axis | undefined): void => {
    if (left && right) unify(left, right, node)
  }
  return {
    node,
    shapes: analysis.shapes,
    input: (index) => analysis.inputAxes(node, index),
    output: (index) => {
      const value = node.outputs[index]
      return value && analysis.axes(value)
    },
    axesOf: (value) => analysis.axes(value),
    isConstant: (index) => {
      const value = node.inputs[index]
      return value !== undefined && analysis.isConstant(value)
    },
    isShift: analysis.shifts.has(node),
    newAxis: (size) => new Axis(size),
    unify: join,
    unifyProducts: (left, right) => {
      matchProducts(left, right, node)
    },
    unifyParts(whole, parts) {
      const axes = parts.map((factors) => productOf(factors))
      const total = axes.reduce((size, axis) => size.add(axis.size), Size.of(0))
      join(sumOf(axes, total), whole)
    },
    record: (axes) => {
      analysis.recorded.set(node, axes)
    },
    contract(operands) {
      const known = operands.flatMap((operand) => {
        const what = analysis.inputAxes(node, operand.input)?.[operand.axis]
        return what ? [{ ...operand, what }] : []
      })
      for (const operand of known) join(known[0]?.what, operand.what)
      if (known.length > 0) analysis.contractions.push({ node, operands: known })
    },
    blocks(derived, of, block) {
      if (!derived || !of || derived.size.isOne) return
      of.root.granularity = leastCommonMultiple(of.root.granularity, block)
      if (derived.root.structure) derived.block(node, 'is a block axis twice')
      else derived.root.structure = { kind: 'blocks', of, block }
    },
    packed(bytes, of, perByte) {
      if (!bytes || !of || perByte === 1) return join(bytes, of)
      if (bytes.root.structure) bytes.block(node, 'is packed twice')
      else bytes.root.structure = { kind: 'packed', of, perByte }
    },
    mark: (axis, mark) => {
      axis?.root.marks.add(mark)
    },
    entangle: (axis, text) => axis?.entangle(node, text),
    mean(operand, text) {
      const what = analysis.inputAxes(node, operand.input)?.[operand.axis]
      if (what) analysis.means.push({ node, text, operand: { ...operand, what } })
    },
    block: (axis, text) => axis?.block(node, text),
    blockAll(text) {
      for (const index of node.inputs.keys())
        for (const axis of analysis.inputAxes(node, index) ?? []) axis.block(node, text)
      for (const output of node.outputs)
        if (output) for (const axis of analysis.axes(output) ?? []) axis.block(node, text)
    },
  }
}
