/**
 * Scaffolds: zeros that are added to, targets repeated for every head. All members along such an axis are the
 * same, so whoever reads one could as well have one of its own: sharing it ties nothing together. Once members
 * are gone, each reader gets as much of it as it needs.
 */
import type { GraphEdit } from '../graph/edit.js'
import { type Graph, intAttribute, type Node, type Value } from '../graph/graph.js'
import { int64Tensor } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'
import { Size } from '../shape/symbolic.js'
import type { Axis } from './axis.js'
import type { Removal } from './removal.js'
import { fromFront } from './rule.js'
import { setIntegers } from './slice-corrections.js'

/** By value: along which axes all members are the same. Only values that are read in several places. */
export function findScaffolds(
  graph: Graph,
  shapes: ShapeInfo,
): ReadonlyMap<Value, readonly boolean[]> {
  const alike = new Map<Value, readonly boolean[]>()
  for (const node of graph.nodes()) {
    const [output] = node.outputs
    const found = output && node.domain === '' ? alikeAxes(node, output, shapes, alike) : undefined
    if (output && found?.includes(true)) alike.set(output, found)
  }
  return new Map([...alike].filter(([value]) => isShared(value)))
}

function isShared(value: Value): boolean {
  if (value.isGraphOutput || isCountedThrough(value)) return false
  const reads = [...value.uses].filter(({ node }) => node.op !== 'Shape' && node.op !== 'Size')
  return reads.length > 1 && reads.every(({ node }) => node.graph === value.graph)
}

/** Whether numbers are counted up to its size: where one reader lost members, they would be too many. */
function isCountedThrough(value: Value): boolean {
  const asked = new Set([...value.uses].flatMap(({ node }) => (node.op === 'Shape' ? node : [])))
  for (const node of asked)
    for (const output of node.outputs)
      for (const { node: reader } of output?.uses ?? [])
        if (reader.op === 'Range') return true
        else if (passesSizes.has(reader.op)) asked.add(reader)
  return false
}

const passesSizes = new Set(['Gather', 'Slice', 'Squeeze', 'Unsqueeze', 'Cast', 'Identity'])

function alikeAxes(
  node: Node,
  output: Value,
  shapes: ShapeInfo,
  alike: ReadonlyMap<Value, readonly boolean[]>,
): boolean[] | undefined {
  const dims = shapes.dims(output)
  if (!dims) return undefined
  const flagsOf = (index: number): readonly boolean[] | undefined => {
    const value = node.inputs[index]
    return value && alike.get(value)
  }
  if (node.op === 'ConstantOfShape') return dims.map(() => true)
  if (node.op === 'Expand') {
    const from = node.inputs[0] && shapes.dims(node.inputs[0])
    return dims.map((_, axis) => {
      const at = axis - dims.length + (from?.length ?? 0)
      return from !== undefined && (at < 0 || from[at]?.isOne || flagsOf(0)?.[at] === true)
    })
  }
  // What an earlier cut made of a scaffold is one.
  if (node.op === 'Slice') return dims.map((_, axis) => flagsOf(0)?.[axis] === true)
  if (node.op !== 'ScatterElements') return undefined
  const addressed = fromFront(intAttribute(node, 'axis', 0), dims.length)
  return dims.map(
    (_, axis) => axis !== addressed && [0, 1, 2].every((input) => flagsOf(input)?.[axis] === true),
  )
}

/** A scaffold as one reader sees it. */
export interface ScaffoldRead {
  readonly value: Value
  readonly node: Node
  readonly index: number
  readonly axes: readonly Axis[]
}

/** Gives readers that lost members scaffolds that fit them; those that need the same share one. */
export function fitScaffolds(
  edit: GraphEdit,
  shapes: ShapeInfo,
  reads: readonly ScaffoldRead[],
  removal: Removal,
): void {
  const made = new Map<string, Value>()
  for (const { value, node, index, axes } of reads) {
    if (!axes.some((axis) => removal.isTouched(axis))) continue
    const sizes = axes.map((axis) =>
      removal.isTouched(axis) ? removal.sizeOf(axis).value : undefined,
    )
    const key = `${value.name}\n${sizes}`
    const fitted = made.get(key) ?? fit(edit, shapes, value, sizes, node)
    made.set(key, fitted)
    edit.setInput(node, index, fitted)
    const { producer } = value
    if (producer && value.uses.size === 0 && !value.isGraphOutput) edit.erase(producer)
  }
}

/** The operand of an operator that states the sizes of its result. */
const stating: Readonly<Record<string, number>> = { Expand: 1, ConstantOfShape: 0 }

function fit(
  edit: GraphEdit,
  shapes: ShapeInfo,
  value: Value,
  sizes: readonly (number | undefined)[],
  before: Node,
): Value {
  const { producer } = value
  const operand = producer && stating[producer.op]
  const output = `${value.name}/fitted`
  if (!producer || operand === undefined) {
    const cut = sizes.flatMap((size, axis) => (size === undefined ? [] : [{ size, axis }]))
    const ints = (numbers: readonly number[]): Value =>
      edit.constant(int64Tensor([numbers.length], numbers), `${value.name}/cut`)
    const range = [
      ints(cut.map(() => 0)),
      ints(cut.map(({ size }) => size)),
      ints(cut.map(({ axis }) => axis)),
    ]
    return edit.add('Slice', [value, ...range], { output, before })
  }
  const copy = edit.addNode({
    op: producer.op,
    inputs: [...producer.inputs],
    outputs: [output],
    attributes: Object.fromEntries(producer.attributes),
    before: producer,
  })
  const stated = producer.inputs[operand]
  const length = (stated && shapes.integers(stated)?.elements.length) ?? sizes.length
  const elements = Array.from({ length }, (_, at) => {
    const size = sizes[at + sizes.length - length]
    return size === undefined ? undefined : Size.of(size)
  })
  setIntegers(edit, shapes, copy, operand, elements)
  return copy.outputs[0] as Value
}
