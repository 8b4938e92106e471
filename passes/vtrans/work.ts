/**
 * The work of one prompt, counted: operations of all products, of attention's own too, and what is
 * written between them. It is known without timing anything, so that the same data, model and seed
 * choose the same; heads cost in it about what they cost in time, while their parameters are a
 * third of that (docs/benchmarks/masks.md).
 */
import type { Axis } from '../../src/axes/axis.js'
import type { Node } from '../../src/graph/graph.js'
import type { TransformerModel } from '../../src/model/model.js'
import { isFloating } from '../../src/onnx/data-type.js'
import { elementCount } from '../../src/onnx/tensor.js'
import type { Mask } from './masks.js'
import { collect, product, type Resource, sizeOf, type Term } from './resource.js'

/** To read, change and write a number takes a processor about as long as so many operations of a product. */
const PASS = 32

/** They move no data. */
const views: ReadonlySet<string> = new Set([
  'Reshape',
  'Squeeze',
  'Unsqueeze',
  'Flatten',
  'Identity',
])

/** `open`: sizes of the prompt by the symbols of the model's inputs. */
export function workOf(
  { graph, analysis }: TransformerModel,
  masks: readonly Mask[],
  open: ReadonlyMap<string, number>,
): Resource {
  const summed = new Map<Node, Axis>()
  for (const { node, operands } of analysis.contractions) {
    const what = operands[0]?.what
    if (what && node.inputs.length > 1) summed.set(node, what)
  }
  const along = (axis: Axis): Term[] => sizeOf(axis, masks, open)
  const factor = (number: number): Term[] => [{ factor: number, masks: [] }]
  const terms: Term[] = []
  for (const node of graph.nodes()) {
    if (node.branch?.isAgain || views.has(node.op)) continue
    const what = summed.get(node)
    const cost = what ? [factor(2 * windowOf(node)), along(what)] : [factor(PASS)]
    for (const value of node.outputs) {
      const axes = value && !analysis.isConstant(value) ? analysis.axes(value) : undefined
      const type = value && analysis.shapes.dataType(value)
      if (!axes || (type && !isFloating(type))) continue
      terms.push(...product([...axes.map(along), ...cost]))
    }
  }
  return collect('work', terms, masks)
}

/** Positions that a convolution sums over besides channels. */
const windowOf = ({ op, inputs }: Node): number =>
  op === 'Conv' ? elementCount(inputs[1]?.constant?.dims.slice(2) ?? []) : 1
