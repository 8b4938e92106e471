/**
 * Norms over the members that are kept: means and sums of squares leave the others out and are divided
 * by how many are kept, so that the dense model says what the one without the others says. What a norm
 * writes for members that are not kept means nothing; whoever sums them multiplies them by zero.
 */
import type { GraphEdit } from '../graph/edit.js'
import {
  floatAttribute,
  intAttribute,
  intsAttribute,
  type Node,
  type Value,
} from '../graph/graph.js'
import { addReduce } from '../graph/versioned-nodes.js'
import type { DataType } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { knownIntegers } from '../shape/known-integers.js'
import type { AxisAnalysis } from './analysis.js'
import type { Axis, Reason } from './axis.js'
import { fromFront } from './rule.js'

/** Ones and zeros along an axis, [n] of a type; undefined where all are kept. */
export type KeptAlong = (axis: Axis, type: DataType, before: Node) => Value | undefined

/** Norms, by whether the mean is taken out first. */
const norms: Readonly<Record<string, boolean>> = {
  LayerNormalization: true,
  RMSNormalization: false,
  SimplifiedLayerNormalization: false,
}
const skipNorms: Readonly<Record<string, boolean>> = {
  SkipLayerNormalization: true,
  SkipSimplifiedLayerNormalization: false,
}

/** Whether all that entangles a dimension are norms that can leave members out. */
export function isOnlyNormed(analysis: AxisAnalysis, entangled: readonly Reason[]): boolean {
  const labels = new Set(entangled.map(({ node }) => node))
  return [...analysis.graph.nodes()].every(
    (node) => !labels.has(node.label) || normedAxis(analysis, node) !== undefined,
  )
}

/** The last axis of input 0, where that is what a node takes a mean or a norm over. */
function normedAxis(analysis: AxisAnalysis, node: Node): Axis | undefined {
  const axes = node.inputs[0] && analysis.axes(node.inputs[0])
  const rank = axes?.length ?? 0
  const statistics = node.op in skipNorms ? node.outputs.slice(1, 3) : node.outputs.slice(1)
  if (statistics.some((output) => output && isRead(output))) return undefined
  const over =
    node.op === 'ReduceMean'
      ? analysis.isContracted(node)
        ? undefined
        : meanAxes(analysis, node)
      : node.op in norms
        ? [intAttribute(node, 'axis', -1)]
        : node.op in skipNorms
          ? [-1]
          : undefined
  const [axis] = over ?? []
  const isLast = axis !== undefined && over?.length === 1 && fromFront(axis, rank) === rank - 1
  return isLast ? axes?.at(-1) : undefined
}

const isRead = ({ uses, isGraphOutput }: Value): boolean => uses.size > 0 || isGraphOutput

function meanAxes(analysis: AxisAnalysis, node: Node): number[] | undefined {
  const operand = node.inputs[1]
  const stated = intsAttribute(node, 'axes')
  return stated ? [...stated] : operand && knownIntegers(operand, analysis.shapes)
}

/** Rewrites every norm over an axis of which `kept` leaves something out. */
export function maskNorms(edit: GraphEdit, analysis: AxisAnalysis, kept: KeptAlong): void {
  // Found first: what is written anew has no axes.
  const found = [...analysis.graph.nodes()].flatMap((node) => {
    const axis = normedAxis(analysis, node)
    const type = node.inputs[0] && analysis.shapes.dataType(node.inputs[0])
    return axis && type ? [{ node, axis, type }] : []
  })
  for (const { node, axis, type } of found) {
    const keep = kept(axis, type, node)
    if (keep) maskNorm(new MaskedNorm(edit, node, keep, type), node)
  }
}

function maskNorm(masked: MaskedNorm, node: Node): void {
  const { edit } = masked
  const [output, , , sum] = node.outputs
  const { source, scale, bias } = partsOf(masked, node)
  if (node.op === 'ReduceMean') {
    const keepDims = intAttribute(node, 'keepdims', 1) === 1
    if (output) edit.replaceUses(output, masked.mean(source, keepDims))
  } else {
    const hasMean = norms[node.op] ?? skipNorms[node.op] ?? true
    const fallback = node.op in skipNorms ? 1e-12 : 1e-5
    const normed = masked.norm(source, hasMean, floatAttribute(node, 'epsilon', fallback))
    const scaled = scale ? masked.op('Mul', normed, scale) : normed
    if (output) edit.replaceUses(output, bias ? masked.op('Add', scaled, bias) : scaled)
  }
  if (sum) edit.replaceUses(sum, source)
  if (!node.outputs.some((each) => each?.isGraphOutput)) edit.erase(node)
}

/** What is normed, and the vectors behind it. */
function partsOf(masked: MaskedNorm, { op, inputs }: Node) {
  const [x, second, third, fourth, fifth] = inputs
  if (!(op in skipNorms)) return { source: x as Value, scale: second, bias: third }
  const isSimple = skipNorms[op] === false
  const shift = isSimple ? fourth : fifth
  const joined = masked.op('Add', x, second)
  return {
    source: shift ? masked.op('Add', joined, shift) : joined,
    scale: third,
    bias: isSimple ? undefined : fourth,
  }
}

class MaskedNorm {
  private readonly count: Value

  constructor(
    readonly edit: GraphEdit,
    private readonly before: Node,
    private readonly keep: Value,
    private readonly type: DataType,
  ) {
    this.count = this.sum(keep, true)
  }

  op(op: string, ...inputs: readonly (Value | undefined)[]): Value {
    return this.edit.add(op, inputs, { output: `${this.before.label}/kept`, before: this.before })
  }

  /** Over the last axis. */
  mean(x: Value, keepDims: boolean): Value {
    return this.op('Div', this.sum(this.op('Mul', x, this.keep), keepDims), this.count)
  }

  /** x/√(mean x² + ε), of x without its mean where the norm has one. */
  norm(x: Value, hasMean: boolean, epsilon: number): Value {
    const centred = hasMean ? this.op('Sub', x, this.mean(x, true)) : x
    const squares = this.mean(this.op('Mul', centred, centred), true)
    const floor = this.edit.constant(toConstant(tensorOf(this.type, [], [epsilon])))
    return this.op('Div', centred, this.op('Sqrt', this.op('Add', squares, floor)))
  }

  private sum(value: Value, keepDims: boolean): Value {
    return addReduce(this.edit, 'ReduceSum', value, [-1], { keepDims, before: this.before })
  }
}
