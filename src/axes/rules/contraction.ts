/**
 * Products that sum over an axis: MatMul, Gemm, Einsum and their quantised forms. Batch axes join,
 * rows and columns pass through, the contracted pair joins and may lose members together.
 */
import { einsumTerms } from '../../graph/einsum-terms.js'
import { intAttribute } from '../../graph/graph.js'
import { Size } from '../../shape/symbolic.js'
import type { Axis } from '../axis.js'
import type { AxisRule, RuleContext } from '../rule.js'
import { broadcastInto } from './elementwise.js'

interface Product {
  readonly left: number
  readonly right: number
  readonly transposeLeft?: boolean
  readonly transposeRight?: boolean
}

/** `[..., M, K] · [..., K, N] → [..., M, N]` by numpy's rules for vectors and batches. */
function relateProduct(context: RuleContext, product: Product): void {
  const { left, right, transposeLeft = false, transposeRight = false } = product
  const a = context.input(left)
  const b = context.input(right)
  const out = context.output(0)
  if (!a || !b || !out) return
  const aInner = a.length === 1 ? 0 : a.length - (transposeLeft ? 2 : 1)
  const bInner = b.length === 1 ? 0 : b.length - (transposeRight ? 1 : 2)
  context.contract([
    { input: left, axis: aInner },
    { input: right, axis: bInner },
  ])
  const rows = a.length === 1 ? undefined : a[a.length - (transposeLeft ? 1 : 2)]
  const columns = b.length === 1 ? undefined : b[b.length - (transposeRight ? 2 : 1)]
  const tail = (rows ? 1 : 0) + (columns ? 1 : 0)
  const batch = out.slice(0, out.length - tail)
  joinBatch(context, a.slice(0, -2), batch)
  joinBatch(context, b.slice(0, -2), batch)
  if (rows) context.unify(rows, out[batch.length])
  if (columns) context.unify(columns, out.at(-1))
  if (context.isConstant(right)) context.mark(columns, 'projected')
  if (context.isConstant(left)) context.mark(rows, 'projected')
}

function joinBatch(context: RuleContext, from: readonly Axis[], to: readonly Axis[]): void {
  for (const [index, axis] of from.entries()) {
    const target = to[to.length - from.length + index]
    if (!target || axis.size.isOne) continue
    if (axis.size.equals(target.size)) context.unify(axis, target)
    else if (axis.size.value !== undefined)
      context.block(axis, `meets an axis of size ${target.size}`)
    else if (target.size.value !== undefined)
      context.block(target, `meets an axis of size ${axis.size}`)
  }
}

/** A vector along the columns of the result, such as a bias, a scale or a zero point. */
function joinColumns(context: RuleContext, ...inputs: readonly number[]): void {
  const columns = context.output(0)?.at(-1)
  for (const input of inputs) {
    const vector = context.input(input)
    const last = vector?.at(-1)
    if (last && !last.size.isOne) context.unify(last, columns)
  }
}

const matMul: AxisRule = { relate: (context) => relateProduct(context, { left: 0, right: 1 }) }

const gemm: AxisRule = {
  relate(context) {
    relateProduct(context, {
      left: 0,
      right: 1,
      transposeLeft: intAttribute(context.node, 'transA', 0) === 1,
      transposeRight: intAttribute(context.node, 'transB', 0) === 1,
    })
    broadcastInto(context, 2)
  },
}

const fusedMatMul: AxisRule = {
  relate(context) {
    const { node } = context
    if (intAttribute(node, 'transBatchA', 0) || intAttribute(node, 'transBatchB', 0))
      return context.blockAll('transposed batches are not understood')
    relateProduct(context, {
      left: 0,
      right: 1,
      transposeLeft: intAttribute(node, 'transA', 0) === 1,
      transposeRight: intAttribute(node, 'transB', 0) === 1,
    })
  },
}

/** A, B, zero point of A (scalar or per row), zero point of B (scalar or per column). */
const matMulInteger: AxisRule = {
  relate(context) {
    relateProduct(context, { left: 0, right: 1 })
    joinColumns(context, 3)
    const rows = context.input(2)?.at(-1)
    if (rows && !rows.size.isOne) context.unify(rows, context.output(0)?.at(-2))
  },
}

const qLinearMatMul: AxisRule = {
  relate(context) {
    relateProduct(context, { left: 0, right: 3 })
    joinColumns(context, 4, 5)
  },
}

/** A, its scale and zero point, B, its two, bias, scale and zero point of the result. */
const qGemm: AxisRule = {
  relate(context) {
    const flips = (name: string): boolean => intAttribute(context.node, name, 0) === 1
    relateProduct(context, {
      left: 0,
      right: 3,
      transposeLeft: flips('transA'),
      transposeRight: flips('transB'),
    })
    joinColumns(context, 4, 5, 6)
  },
}

/** A, B, scale of A, scale of B, zero point of A, zero point of B, bias. */
const matMulIntegerToFloat: AxisRule = {
  relate(context) {
    relateProduct(context, { left: 0, right: 1 })
    joinColumns(context, 3, 5, 6)
  },
}

/** A, B, scale of B, zero point of B, bias: A is quantised inside. */
const dynamicQuantizeMatMul: AxisRule = {
  relate(context) {
    relateProduct(context, { left: 0, right: 1 })
    joinColumns(context, 2, 3, 4)
  },
}

/**
 * A [..., K] times a packed weight B [N, K/block, bytes] with scales [N, K/block], which may be flat,
 * and zero points [N, ceil(K/block · bits/8)] when packed in bytes.
 */
const matMulNBits: AxisRule = {
  relate(context) {
    const { node } = context
    const a = context.input(0)
    const b = context.input(1)
    const out = context.output(0)
    const block = intAttribute(node, 'block_size', 32)
    const bits = intAttribute(node, 'bits', 4)
    if (!a || !b || !out) return
    for (const [index, axis] of a.slice(0, -1).entries()) context.unify(axis, out[index])
    const columns = out.at(-1)
    const contracted = a.at(-1)
    context.contract([{ input: 0, axis: a.length - 1 }])
    context.unify(b[0], columns)
    context.mark(columns, 'projected')
    // Scales of one block fit any part of it, but its bytes don't.
    if (b[1]?.size.isOne) context.block(contracted, 'its members share one block of bytes')
    context.blocks(b[1], contracted, block)
    context.block(b[2], 'holds the bytes of one block')
    const zeroType = node.inputs[3] && context.shapes.dataType(node.inputs[3])
    relateScales(context, 2, columns, contracted, { block, perByte: 1 })
    relateScales(context, 3, columns, contracted, {
      block,
      perByte: zeroType === 'uint8' ? 8 / bits : 1,
    })
    if (node.inputs[4]) context.block(contracted, 'its members are reordered by a group index')
    joinColumns(context, 5)
  },
  rewrite(context) {
    const a = context.input(0)
    const out = context.output(0)
    const contracted = a && context.sizeOf(a.at(-1) as Axis).value
    const columns = out && context.sizeOf(out.at(-1) as Axis).value
    if (contracted !== undefined) context.setInt('K', contracted)
    if (columns !== undefined) context.setInt('N', columns)
  },
}

/** A weight of one row of blocks, whatever its sides: read, and never cut. */
const matMulBnb4: AxisRule = {
  relate(context) {
    const a = context.input(0)
    const out = context.output(0)
    if (!a || !out) return
    for (const [index, axis] of a.slice(0, -1).entries()) context.unify(axis, out[index])
    context.contract([{ input: 0, axis: a.length - 1 }])
    context.mark(out.at(-1), 'projected')
    for (const axis of [a.at(-1), out.at(-1)])
      context.block(axis, 'its 4-bit blocks run on from row to row')
  },
}

/** Scales or zero points of a blocked weight: [N, K/block] or flattened, whole or packed in bytes. */
function relateScales(
  context: RuleContext,
  input: number,
  columns: Axis | undefined,
  contracted: Axis | undefined,
  form: { readonly block: number; readonly perByte: number },
): void {
  const axes = context.input(input)
  if (!axes || !columns || !contracted) return
  const blocks = Math.ceil((contracted.size.value ?? 0) / form.block)
  const bytes = Math.ceil(blocks / form.perByte)
  // An axis of one byte says nothing to products, and may hold several blocks all the same.
  const [, own] = axes
  const perColumn = own ?? context.newAxis(Size.of(bytes))
  const perBlock = form.perByte === 1 ? perColumn : context.newAxis(Size.of(blocks))
  if (own) context.unify(axes[0], columns)
  else if (bytes > 1 || blocks === 1) context.unifyProducts(axes, [columns, perColumn])
  else {
    context.unify(axes[0], columns)
    return context.block(contracted, 'zero points of several of its blocks share a byte')
  }
  context.packed(perColumn, perBlock, form.perByte)
  context.blocks(perBlock, contracted, form.block)
}

/** Letters join across operands; a letter that the result lacks is contracted or summed. */
const einsum: AxisRule = {
  relate(context) {
    const { node } = context
    const out = context.output(0)
    const ranks = node.inputs.map((_, index) => context.input(index)?.length ?? 0)
    const { operands: labels, result: outLabels } = einsumTerms(node, ranks, out?.length ?? 0)
    const seen = new Map<string, { input: number; axis: number }[]>()
    for (const [input, term] of labels.entries())
      for (const [axis, label] of term.entries())
        seen.set(label, [...(seen.get(label) ?? []), { input, axis }])
    for (const [label, operands] of seen) {
      const real = operands.filter(({ input, axis }) => !context.input(input)?.[axis]?.size.isOne)
      const target = out?.[outLabels.indexOf(label)]
      if (!outLabels.includes(label)) context.contract(real)
      else
        for (const { input, axis } of real) {
          context.unify(context.input(input)?.[axis], target)
          if (context.isConstant(input)) context.mark(target, 'projected')
        }
    }
  },
}

export const contractionRules: Readonly<Record<string, AxisRule>> = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
  MatMulInteger: matMulInteger,
  QLinearMatMul: qLinearMatMul,
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.FusedGemm': gemm,
  'com.microsoft.GemmFastGelu': {
    relate(context) {
      relateProduct(context, { left: 0, right: 1 })
      joinColumns(context, 2)
    },
  },
  'com.microsoft.QGemm': qGemm,
  'com.microsoft.MatMulIntegerToFloat': matMulIntegerToFloat,
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
  'com.microsoft.MatMulNBits': matMulNBits,
  'com.microsoft.MatMulBnb4': matMulBnb4,
}
