/**
 * Removing members from a graph in one transaction: constants are gathered, graph inputs and outputs
 * retyped, attributes and shape operands made to say the new sizes, and numbers that were computed
 * from a size (1/√headSize) kept as they were. Removing nothing changes nothing.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Attribute, Node, Value } from '../graph/graph.js'
import { type DataType, isFloating } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'
import type { AxisAnalysis } from './analysis.js'
import type { Axis } from './axis.js'
import { removeFromTensor } from './constants.js'
import { Removal } from './removal.js'
import type { RewriteContext } from './rule.js'
import { findAxisRule } from './rules/index.js'
import { fitScaffolds } from './scaffold.js'
import { widenSeam } from './seam.js'
import { setIntegers, setRange } from './slice-corrections.js'

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
  fitScaffolds(edit, analysis.shapes, analysis.scaffoldReads(), removal)
  retype(edit, analysis, removal)
  const pinned = (value: Value): readonly Size[] | undefined =>
    analysis.axes(value)?.map((axis) => removal.sizeOf(axis))
  const nodes = [...analysis.graph.nodes()]
  const shapes = inferShapes(analysis.graph, { pinnedDims: pinned })
  keepNumbersOfSizes(edit, analysis.shapes, shapes, nodes)
  for (const node of nodes)
    findAxisRule(node)?.rewrite?.(rewriteContext(edit, analysis, removal, shapes, node))
  for (const [value, seam] of analysis.seams) widenSeam(edit, value, seam, removal)
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
    isContracted: () => analysis.isContracted(node),
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
    setRange: (position, start, end) => setRange(edit, shapes, node, position, start, end),
  }
}
