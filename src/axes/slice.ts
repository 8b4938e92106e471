/**
 * Removing members from a graph in one transaction: constants are gathered, graph inputs and outputs
 * retyped, attributes and shape operands made to say the new sizes, and numbers that were computed
 * from a size (1/√headSize) kept as they were. Removing nothing changes nothing.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Attribute, Node, Value } from '../graph/graph.js'
import { type DataType, isFloating } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { int64Tensor, type Tensor } from '../onnx/tensor.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import { Size } from '../shape/symbolic.js'
import type { AxisAnalysis } from './analysis.js'
import type { Axis } from './axis.js'
import { removeFromTensor } from './constants.js'
import { Removal } from './removal.js'
import type { RewriteContext } from './rule.js'
import { findAxisRule } from './rules/index.js'
import { sizeValue } from './size-value.js'

/**
 * Keeps only `keep` of each leaf; lists ascend. The analysis describes the graph before the change
 * and is stale afterwards. The caller has seen to it that the leaves may be sliced.
 */
export function sliceMembers(
  edit: GraphEdit,
  analysis: AxisAnalysis,
  keep: ReadonlyMap<Axis, readonly number[]>,
): void {
  const real = new Map(
    [...keep].filter(([leaf, members]) => members.length < (leaf.size.value ?? 0)),
  )
  if (real.size === 0) return
  const removal = new Removal(real)
  sliceConstants(edit, analysis, removal)
  retype(edit, analysis, removal)
  const pinned = (value: Value): readonly Size[] | undefined =>
    analysis.axes(value)?.map((axis) => removal.sizeOf(axis))
  const nodes = [...analysis.graph.nodes()]
  const shapes = inferShapes(analysis.graph, { pinnedDims: pinned })
  keepNumbersOfSizes(edit, analysis.shapes, shapes, nodes)
  for (const node of nodes)
    findAxisRule(node)?.rewrite?.(rewriteContext(edit, analysis, removal, shapes, node))
}

function sliceConstants(edit: GraphEdit, analysis: AxisAnalysis, removal: Removal): void {
  const copies = new Map<string, Value>()
  for (const { value, use, axes } of [...analysis.constantAxes()]) {
    if (!value.constant || !axes.some((axis) => removal.isTouched(axis))) continue
    const kept = axes.map((axis) => removal.kept(axis))
    const key = `${value.name}\n${JSON.stringify(kept)}`
    const make = (): Tensor => removeFromTensor(value.constant as Tensor, axes, removal)
    if (!use && !value.producer) {
      edit.setConstant(value, make())
      continue
    }
    const copy = copies.get(key) ?? edit.constant(make(), value.name)
    copies.set(key, copy)
    if (use) edit.setInput(use.node, use.index, copy)
    else edit.replaceUses(value, copy)
    eraseUnread(edit, value)
  }
}

/** A constant that lost its last reader goes. */
function eraseUnread(edit: GraphEdit, value: Value): void {
  if (value.uses.size > 0 || value.isGraphOutput || value.isGraphInput) return
  if (value.producer) edit.erase(value.producer)
  else edit.eraseConstant(value)
}

function retype(edit: GraphEdit, analysis: AxisAnalysis, removal: Removal): void {
  for (const [value, axes] of analysis.valueAxes()) {
    if (!value.type?.dims || !axes.some((axis) => removal.isTouched(axis))) continue
    const dims = value.type.dims.map((dim, index) => {
      const axis = axes[index]
      // A name for a size that had the members in it would promise the old size.
      return axis && removal.isTouched(axis) ? removal.sizeOf(axis).value : dim
    })
    edit.setType(value, { ...value.type, dims })
  }
}

/** A float made from a size that shrank (a scale, a divisor) keeps the value it had. */
function keepNumbersOfSizes(
  edit: GraphEdit,
  before: ShapeInfo,
  after: ShapeInfo,
  nodes: readonly Node[],
): void {
  for (const node of nodes) {
    const [input] = node.inputs
    const [output] = node.outputs
    if (node.op !== 'Cast' || !input || !output || output.constant) continue
    const type = before.dataType(output)
    if (!type || !isFloating(type)) continue
    const now = after.integers(input)?.elements
    const was = before.integers(input)?.elements
    const old = before.constant(output) ?? constantOf(type, before.dims(output), was)
    if (!old) continue
    const isSame = was?.every((size, i) => size && now?.[i] && size.equals(now[i]))
    if (isSame !== false) continue
    edit.replaceUses(output, edit.constant(old, `${output.name}/fixed`))
  }
}

/** Sizes that are numbers, in a type that shapes are not worked out in. */
function constantOf(
  type: DataType,
  dims: readonly Size[] | undefined,
  elements: readonly (Size | undefined)[] | undefined,
): Tensor | undefined {
  if (type !== 'float16' && type !== 'float32' && type !== 'float64') return undefined
  const numbers = elements?.map((size) => size?.value)
  const sizes = dims?.map((size) => size.value)
  if (!numbers?.every((each) => each !== undefined) || !sizes?.every((each) => each !== undefined))
    return undefined
  return toConstant(tensorOf(type, sizes as number[], numbers as number[]))
}

function rewriteContext(
  edit: GraphEdit,
  analysis: AxisAnalysis,
  removal: Removal,
  shapes: ShapeInfo,
  node: Node,
): RewriteContext {
  const set = (name: string, attribute: Attribute | undefined): void =>
    edit.setAttribute(node, name, attribute)
  const original = [...node.inputs]
  return {
    node,
    edit,
    shapes: analysis.shapes,
    input: (index) => analysis.inputAxes(node, index),
    output: (index) => {
      const value = node.outputs[index]
      return value && analysis.axes(value)
    },
    kept: (axis) => removal.kept(axis),
    sizeOf: (axis) => removal.sizeOf(axis),
    recorded: () => analysis.recorded.get(node),
    setFloat: (name, value) => set(name, { kind: 'float', value }),
    setInt: (name, value) => set(name, { kind: 'int', value: BigInt(value) }),
    setInts: (name, values) => set(name, { kind: 'ints', value: values.map(BigInt) }),
    removeAttribute: (name) => set(name, undefined),
    valueOf: (index) => original[index],
    computed(index) {
      const value = node.inputs[index]
      return value && shapes.integers(value)?.elements
    },
    setIntegers: (index, elements) => setIntegers(edit, shapes, node, index, elements),
    setRange: (position, start, end) => setRange(edit, analysis.shapes, node, position, start, end),
  }
}

/** Replaces entries of an integer operand: a new constant where all are numbers, a correction otherwise. */
function setIntegers(
  edit: GraphEdit,
  shapes: ShapeInfo,
  node: Node,
  index: number,
  elements: readonly (Size | undefined)[],
): void {
  const operand = node.inputs[index]
  const now = operand && shapes.integers(operand)?.elements
  const merged = elements.map((size, i) => size ?? now?.[i])
  const numbers = merged.map((size) => size?.value)
  // Fractions are no sizes: a model that no runtime takes.
  if (numbers.some((n) => n !== undefined && !Number.isInteger(n))) return
  const dims = operand ? shapes.dims(operand)?.map((size) => size.value ?? 1) : undefined
  // An operand may have several dimensions of which the first counts: the index of a GatherND.
  const shape = dims?.length === 0 ? [] : [elements.length, ...(dims?.slice(1) ?? [])]
  if (
    numbers.every((n) => n !== undefined) &&
    (!operand || shapes.constant(operand) || !now?.some(isSymbolic))
  ) {
    edit.setInput(
      node,
      index,
      edit.constant(int64Tensor(shape, numbers as number[]), `${node.label}/sizes`),
    )
    return
  }
  if (!operand) return
  edit.setInput(node, index, correct(edit, shapes, node, operand, now ?? [], elements))
}

const isSymbolic = (size: Size | undefined): boolean =>
  size !== undefined && size.value === undefined

/** Entries of a computed operand set to numbers, or scaled where they are multiples of a symbol. */
function correct(
  edit: GraphEdit,
  shapes: ShapeInfo,
  node: Node,
  operand: Value,
  now: readonly (Size | undefined)[],
  wanted: readonly (Size | undefined)[],
): Value {
  const length = [wanted.length]
  const name = `${node.label}/sizes`
  const vector = (values: readonly number[]): Value =>
    edit.constant(int64Tensor(length, values), name)
  let result = operand
  const ratios = wanted.map((size, i) =>
    size && size.value === undefined ? ratioOf(size, now[i]) : undefined,
  )
  if (ratios.some((ratio) => ratio)) {
    const times = vector(ratios.map((ratio) => ratio?.[0] ?? 1))
    const over = vector(ratios.map((ratio) => ratio?.[1] ?? 1))
    const scaled = edit.add('Mul', [result, times], { output: name, before: node })
    result = edit.add('Div', [scaled, over], { output: name, before: node })
  }
  // A size that the operand no longer computes is what a -1 stands for, once in a Reshape.
  const lost = wanted.flatMap((size, i) =>
    size && size.value === undefined && !ratios[i] ? [i] : [],
  )
  const flag = (isSet: (i: number) => boolean): Value =>
    edit.constant(
      boolTensor(
        length,
        wanted.map((_, i) => (isSet(i) ? 1 : 0)),
      ),
      `${node.label}/which`,
    )
  const place = { graph: node.graph, shapes, before: node }
  for (const index of node.op === 'Reshape' && lost.length === 1 ? [] : lost) {
    const size = sizeValue(edit, place, wanted[index] as Size)
    if (!size) continue
    const inputs = [flag((i) => i === index), size, result]
    result = edit.add('Where', inputs, { output: name, before: node })
  }
  const numbers =
    node.op === 'Reshape' && lost.length === 1
      ? wanted.with(lost[0] as number, Size.of(-1)).map((size) => size?.value)
      : wanted.map((size) => size?.value)
  if (numbers.some((value) => value !== undefined)) {
    const condition = flag((i) => numbers[i] !== undefined)
    const values = vector(numbers.map((value) => value ?? 0))
    result = edit.add('Where', [condition, values, result], { output: name, before: node })
  }
  return result
}

const boolTensor = (dims: readonly number[], values: readonly number[]): Tensor => {
  const bytes = Uint8Array.from(values)
  return { dataType: 'bool', dims, byteLength: bytes.length, bytes: () => bytes }
}

/** wanted/now as a fraction of integers, for 3·batch against 4·batch. */
function ratioOf(wanted: Size, now: Size | undefined): [number, number] | undefined {
  const [times] = wanted.monomials
  const [over] = now?.monomials ?? []
  if (!now || !times || !over) return undefined
  const isMultiple = wanted.mul(Size.of(over.factor)).equals(now.mul(Size.of(times.factor)))
  return isMultiple ? [times.factor, over.factor] : undefined
}

/** Range number `position` of a Slice becomes [start, end). */
function setRange(
  edit: GraphEdit,
  shapes: ShapeInfo,
  node: Node,
  position: number,
  start: number,
  end: number | undefined,
): void {
  const last = Number.MAX_SAFE_INTEGER
  const wanted: readonly [string, number, number][] = [
    ['starts', 1, start],
    ['ends', 2, end ?? last],
  ]
  for (const [name, index, value] of wanted) {
    const attribute = node.attributes.get(name)
    if (attribute?.kind === 'ints') {
      edit.setAttribute(node, name, {
        kind: 'ints',
        value: attribute.value.with(position, BigInt(value)),
      })
      continue
    }
    const operand = node.inputs[index]
    const elements = operand && shapes.integers(operand)?.elements
    if (!operand || !elements) continue
    const next = elements.map((_, i) => (i === position ? Size.of(value) : undefined))
    setIntegers(edit, shapes, node, index, next)
  }
}
