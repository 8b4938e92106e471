/**
 * Attention as one operator: scores, mask, softmax and context of standard operators become
 * attention over all blocks, which stores nothing as large as the scores. Masks stay what they are
 * and are added as a bias, so nothing has to be known of what they mean. Where sizes are fixed;
 * what has another form stays.
 */
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { layoutTensors } from '../../kernels/block-sparse-attention/layout.js'
import { denseLayout } from '../../kernels/block-sparse-attention/patterns.js'
import { emitKernel, type KernelType, kernelTypeOf } from '../../kernels/kernel.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Attribute, Node, Value } from '../graph/graph.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { int64Tensor } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'
import { knownSizes } from '../shape/known-sizes.js'
import { type AttentionProducts, type Mask, readProducts } from './attention-products.js'
import { eraseUnread } from './erase-unread.js'

/** Tokens of a block. */
const BLOCK = 64

export interface FuseOptions {
  /** Which of all that is found is taken, by query, key (perhaps turned) and value. */
  accepts(types: readonly (KernelType | undefined)[]): boolean
  /** A mask that learns has no gradient in the operator. */
  isFixed(mask: Value): boolean
}

/** How many there were. */
export function fuseAttention(edit: GraphEdit, shapes: ShapeInfo, options: FuseOptions): number {
  const layouts = new Map<string, readonly [Value, Value]>()
  let count = 0
  for (const node of [...edit.graph.nodes()]) {
    const found = node.op === 'Softmax' ? readProducts(node, shapes) : undefined
    if (!found || !isTaken(found, shapes, options)) continue
    emit(edit, shapes, found, layouts)
    count++
  }
  return count
}

function isTaken(
  { query, key, value, masks }: AttentionProducts,
  shapes: ShapeInfo,
  options: FuseOptions,
): boolean {
  if (!masks.every(({ value: mask }) => options.isFixed(mask))) return false
  return options.accepts([query, key, value].map((each) => kernelTypeOf(each, shapes)))
}

function emit(
  edit: GraphEdit,
  shapes: ShapeInfo,
  { query, scale, softcap, key, isTurned, value, masks, context }: AttentionProducts,
  layouts: Map<string, readonly [Value, Value]>,
): void {
  const before = context.producer as Node
  const [, , S = 0] = knownSizes(query, shapes) ?? []
  const [, , T = 0] = knownSizes(value, shapes) ?? []
  const perm: Attribute = { kind: 'ints', value: [0n, 1n, 3n, 2n] }
  const straight = isTurned ? edit.add('Transpose', [key], { attributes: { perm }, before }) : key
  const dims = knownSizes(context, shapes)
  const dataType = shapes.dataType(query)
  const layout = layouts.get(`${S}·${T}`) ?? addLayout(edit, S, T)
  layouts.set(`${S}·${T}`, layout)
  const added = masks.map((mask) => widen(edit, shapes, mask, [S, T], before))
  const bias = added.length > 1 ? edit.add('Sum', added, { before }) : added[0]
  const node = emitKernel(edit, blockSparseAttention, {
    inputs: [query, straight, value, ...layout, undefined, bias],
    attributes: { scale, softcap, queryBlock: BLOCK, keyBlock: BLOCK, queryStart: 0 },
    outputs: 2,
    dataType,
    before,
  })
  const [output] = node.outputs as [Value]
  if (dataType) edit.setType(output, { dataType, dims })
  edit.replaceUses(context, output)
  eraseUnread(edit, before)
}

/** The layout that keeps all blocks. */
function addLayout(edit: GraphEdit, queries: number, keys: number): readonly [Value, Value] {
  const size = { queries, keys, queryBlock: BLOCK, keyBlock: BLOCK }
  const { rows, columns } = layoutTensors(denseLayout(size, false))
  return [edit.constant(rows), edit.constant(columns)]
}

/** A mask as what is added, of [1 or B, 1 or H, S, T]. */
function widen(
  edit: GraphEdit,
  shapes: ShapeInfo,
  { value, hidden }: Mask,
  last: readonly [number, number],
  before: Node,
): Value {
  const type = hidden && shapes.dataType(hidden)
  const zero = type && edit.constant(toConstant(tensorOf(type, [], [0])))
  const bias = zero ? edit.add('Where', [value, zero, hidden], { before }) : value
  const dims = knownSizes(value, shapes) ?? []
  const [b = 1, h = 1] = dims.length === 4 ? dims : dims.length === 3 ? [1, dims[0]] : []
  if (String(dims) === String([b, h, ...last])) return bias
  const shape = edit.constant(int64Tensor([4], [b, h, ...last]))
  return edit.add('Expand', [bias, shape], { before })
}
