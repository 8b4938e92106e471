/**
 * A float32 graph with its weights and most of its work in half precision; inputs and outputs stay float32.
 * What is made of positions and masks alone (angles, biases) stays float32 as well, since whole numbers
 * above 2,048 and the most negative floats are none in half precision. The surprise: such values are
 * clipped where they enter, so that a row that is masked everywhere doesn't become NaN.
 */
import { hasOwnType, retypeKernel } from '../../kernels/retype.js'
import type { GraphEdit } from '../graph/edit.js'
import { type Graph, innerGraphs, type Node, stringAttribute, type Value } from '../graph/graph.js'
import { largestHalf, pack, toHalf } from '../onnx/half-precision.js'
import { fromConstant, numbersOf, tensorOf } from '../onnx/numbers.js'
import { elementCount, float32Tensor, keptTensor, type Tensor } from '../onnx/tensor.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { eraseIdleCasts } from '../rewrite/idle-casts.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import { halfOperators, typeless } from './half-operators.js'

/** The smallest normal number of half precision, and what masks are clipped to. */
const SMALLEST = 2 ** -14
const MASKED = 3e4

const toType = (code: bigint) => ({ to: { kind: 'int', value: code } }) as const
const [FLOAT, HALF] = [1n, 10n]

/** Whether there is work that half precision is safe for; where activations are quantised, it is done. */
export function hasFloatWork(graph: Graph): boolean {
  if ([...graph.nodes()].some(({ op }) => /^(Dynamic)?QuantizeLinear$/.test(op))) return false
  const shapes = inferShapes(graph)
  const data = findData(graph, shapes)
  return [...graph.nodes()].some((node) => canBeHalf(node, data))
}

export interface HalfScope {
  /** Nodes that stay as they are. */
  readonly except?: ReadonlySet<Node>
  /** Nodes that compute in half precision whatever they do. */
  readonly also?: ReadonlySet<Node>
}

/** As a mask, weights are rounded and stay float32. */
export function toHalfPrecision(
  change: GraphEdit,
  as: 'slice' | 'mask',
  { except, also }: HalfScope = {},
): void {
  const { graph } = change
  const shapes = inferShapes(graph)
  if (as === 'slice') eraseIdleCasts(change, shapes)
  const nodes = [...graph.nodes()]
  const data = findData(graph, shapes)
  const isHalf = new Set(
    nodes.filter((node) => also?.has(node) || (!except?.has(node) && canBeHalf(node, data))),
  )
  if (as === 'mask') return roundConstants(change, isHalf)
  new Conversion(change, shapes, isHalf, data).run(nodes)
}

const isFloat = (value: Value | undefined, shapes: ShapeInfo): value is Value =>
  value !== undefined && (value.constant?.dataType ?? shapes.dataType(value)) === 'float32'

/** Floats that depend on a float input, a table that is looked up or a weight; others say positions. */
function findData(graph: Graph, shapes: ShapeInfo): Set<Value> {
  const data = new Set(graph.inputs.filter((input) => isFloat(input, shapes)))
  for (const node of graph.nodes()) {
    const isTurned = /^(Transpose|Reshape|Identity)$/.test(node.op) && isMatrix(node.inputs[0])
    const isLookup = /^Gather|^EmbedLayer/.test(node.op) && node.inputs.some(isMatrix)
    if (!isLookup && !isTurned && !node.inputs.some((input) => input && data.has(input))) continue
    for (const output of node.outputs) if (isFloat(output, shapes)) data.add(output)
  }
  return data
}

const isMatrix = (value: Value | undefined): boolean => (value?.constant?.dims.length ?? 0) > 1

function canBeHalf(node: Node, data: ReadonlySet<Value>): boolean {
  if (!halfOperators.has(node.operatorName) || [...innerGraphs(node)].length > 0) return false
  // Written over is moved; added up is a sum, of which few kernels are in half precision.
  if (node.op.startsWith('Scatter') && (stringAttribute(node, 'reduction') ?? 'none') !== 'none')
    return false
  // It may write its new cache over an old one that isn't an input of the model: a Cast of it is too short.
  if (node.op === 'GroupQueryAttention' && node.inputs[3]) return false
  if (!node.outputs.some((output) => output && data.has(output))) return false
  return node.inputs.every((input) => !input?.constant || isHoldable(input.constant, node.op))
}

/** Single numbers have to be what they are, but for masks; of many, small ones may become zero. */
function isHoldable(tensor: Tensor, op: string): boolean {
  if (tensor.dataType !== 'float32' || elementCount(tensor.dims) > 1) return true
  const [value = 0] = numbersOf(fromConstant(tensor) ?? tensorOf('float32', [1], [0]))
  if (/^(Mul|Div)$/.test(op) && Math.abs(value) > largestHalf) return false
  return value === 0 || Math.abs(value) >= SMALLEST
}

/** Packed when it is read: of the steps that are built to see what memory they need, most never are. */
const halves = (tensor: Tensor): Tensor =>
  keptTensor('float16', tensor.dims, () => {
    const read = fromConstant(tensor)
    const { buffer } = pack(read ? numbersOf(read) : [], toHolding)
    return new Uint8Array(buffer)
  })

/** Infinities are meant; numbers beyond the range are masks. */
const toHolding = (number: number): number =>
  toHalf(
    Math.abs(number) > largestHalf && Number.isFinite(number) ? Math.sign(number) * MASKED : number,
  )

function roundConstants(change: GraphEdit, isHalf: ReadonlySet<Node>): void {
  for (const value of [...change.graph.values.values()]) {
    const { constant } = value
    if (constant?.dataType !== 'float32' || value.isGraphOutput) continue
    const own = [...value.uses].filter(
      ({ node, index }) => isHalf.has(node) && !hasOwnType(node, 'inputs', index),
    )
    if (own.length === 0) continue
    const read = fromConstant(halves(constant))
    const rounded = float32Tensor(constant.dims, read ? numbersOf(read) : [])
    const copy = change.constant(rounded, `${value.name}/rounded`)
    for (const { node, index } of own) change.setInput(node, index, copy)
    if (value.producer) continue
    change.eraseConstant(value)
  }
}

class Conversion {
  /** The same in the other precision. */
  private readonly inHalf = new Map<Value, Value>()
  private readonly inFloat = new Map<Value, Value>()
  /** Values that are half now. */
  private readonly halved = new Set<Value>()

  constructor(
    private readonly change: GraphEdit,
    private readonly shapes: ShapeInfo,
    private readonly isHalf: ReadonlySet<Node>,
    private readonly data: ReadonlySet<Value>,
  ) {}

  run(nodes: readonly Node[]): void {
    for (const each of nodes) {
      const node = this.isHalf.has(each) ? retypeKernel(this.change, each, 'float16') : each
      const wanted = this.isHalf.has(each)
      for (const [index, input] of [...node.inputs].entries()) {
        if (!input) continue
        const isWanted = wanted && !hasOwnType(node, 'inputs', index)
        if (isWanted && !this.halved.has(input) && isFloat(input, this.shapes))
          this.change.setInput(node, index, this.asHalf(input, node))
        else if (!isWanted && this.halved.has(input) && !typeless.has(node.op))
          this.change.setInput(node, index, this.asFloat(input, node))
      }
      if (wanted) this.halveOutputs(node)
    }
    for (const value of this.inHalf.keys())
      if (value.constant && !value.producer) this.change.eraseConstant(value)
      else if (value.constant && value.producer) eraseUnread(this.change, value.producer)
  }

  private halveOutputs(node: Node): void {
    for (const [index, output] of [...node.outputs].entries()) {
      if (!isFloat(output, this.shapes) || hasOwnType(node, 'outputs', index)) continue
      const isRead =
        output.isGraphOutput || [...output.uses].some((use) => use.node.graph !== output.graph)
      if (!isRead) {
        this.halve(output)
        continue
      }
      // Readers inside of the graph that are half themselves read what is in between.
      const own = [...output.uses].filter((use) => this.isHalf.has(use.node))
      const between = this.change.insertAfter(node, index, {
        op: 'Cast',
        attributes: toType(FLOAT),
        between: `${output.name}/half`,
      })
      // Without the stated shape: names of dimensions may promise more between nodes than at the ends.
      this.halved.add(between)
      for (const use of own) this.change.setInput(use.node, use.index, between)
    }
  }

  private halve(value: Value): void {
    this.halved.add(value)
    if (value.type) this.change.setType(value, { ...value.type, dataType: 'float16' })
  }

  private asHalf(value: Value, before: Node): Value {
    const known = this.inHalf.get(value)
    if (known) return known
    const made = value.constant
      ? this.change.constant(halves(value.constant), `${value.name}/half`)
      : this.change.add('Cast', [this.data.has(value) ? value : this.clipped(value, before)], {
          attributes: toType(HALF),
          output: `${value.name}/half`,
          before,
        })
    this.inHalf.set(value, made)
    return made
  }

  private asFloat(value: Value, before: Node): Value {
    const known = this.inFloat.get(value)
    if (known) return known
    const output = `${value.name}/float`
    const made = this.change.add('Cast', [value], { attributes: toType(FLOAT), output, before })
    this.inFloat.set(value, made)
    return made
  }

  private clipped(value: Value, before: Node): Value {
    const bound = (number: number): Value => this.change.constant(float32Tensor([], [number]))
    const spec = { output: `${value.name}/clipped`, before }
    const lower = this.change.add('Max', [value, bound(-MASKED)], spec)
    return this.change.add('Min', [lower, bound(MASKED)], spec)
  }
}
