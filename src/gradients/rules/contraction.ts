/** Products: dA = G·Bᵀ, dB = Aᵀ·G, with batches summed where they were shared. */
import { floatAttribute, intAttribute, stringAttribute, type Value } from '../../graph/graph.js'
import type { Size } from '../../shape/symbolic.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'

/** The last two axes swapped. */
function swapLast(c: GradientContext, value: Value, rank: number): Value {
  const order = Array.from({ length: rank }, (_, axis) => axis)
  order.push(...order.splice(rank - 2).reverse())
  return c.op('Transpose', [value], { perm: order })
}

/** [..., n] as [rows, n]. */
const asMatrix = (c: GradientContext, value: Value, columns: Size): Value | undefined =>
  columns.value === undefined ? undefined : c.op('Reshape', [value, c.ints(-1, columns.value)])

const matMul: GradientRule = {
  backward(c) {
    const [a, b] = [c.input(0), c.input(1)]
    const ranks = [c.rank(a), c.rank(b)] as const
    if (ranks[0] === 1 || ranks[1] === 1) return vectorProduct(c, ranks)
    const g = c.gradient(0) as Value
    return [
      c.needs(0) ? leftGradient(c, g, b, ranks) : undefined,
      c.needs(1) ? rightGradient(c, g, a, ranks) : undefined,
    ]
  },
}

type Ranks = readonly [number, number]

function leftGradient(c: GradientContext, g: Value, b: Value, [left, right]: Ranks): Value {
  const a = c.input(0)
  const found = c.op('MatMul', [g, swapLast(c, b, right)])
  if (right === 2) return found
  return c.unbroadcast(found, batched(c, left, a), a)
}

function rightGradient(c: GradientContext, g: Value, a: Value, [left, right]: Ranks): Value {
  const b = c.input(1)
  const [inner, columns] = [c.shapes.dims(a)?.at(-1), c.shapes.dims(b)?.at(-1)]
  // A weight shared by the whole batch: one product over all rows instead of one a sample.
  if (right === 2 && left > 2 && inner && columns) {
    const rows = asMatrix(c, a, inner)
    const gradients = asMatrix(c, g, columns)
    if (rows && gradients)
      return c.op('MatMul', [c.op('Transpose', [rows], { perm: [1, 0] }), gradients])
  }
  const found = c.op('MatMul', [swapLast(c, a, left), g])
  return c.unbroadcast(found, batched(c, right, b), b)
}

/** Sizes of an operand's gradient before the batch is summed: the result's batch, its own matrix. */
function batched(c: GradientContext, rank: number, operand: Value): Size[] | undefined {
  const own = c.shapes.dims(operand)
  const out = c.shapes.dims(c.output(0))
  return own && out && rank >= 2 ? [...out.slice(0, -2), ...own.slice(-2)] : undefined
}

/** A vector is a matrix of one row or column. */
function vectorProduct(c: GradientContext, [left, right]: Ranks): (Value | undefined)[] {
  const [a, b] = [c.input(0), c.input(1)]
  let g = c.gradient(0) as Value
  if (left === 1 && right === 1)
    return [
      c.needs(0) ? c.op('Mul', [g, b]) : undefined,
      c.needs(1) ? c.op('Mul', [g, a]) : undefined,
    ]
  const [first, last] = [c.ints(-2), c.ints(-1)]
  if (left === 1) {
    // [K]·[..., K, N] → [..., N]
    g = c.op('Unsqueeze', [g, last])
    const toA = c.needs(0) ? c.op('Squeeze', [c.op('MatMul', [b, g]), last]) : undefined
    const dims = c.shapes.dims(b)?.slice(0, -1)
    return [
      toA && c.unbroadcast(toA, dims, a),
      c.needs(1)
        ? c.op('Mul', [c.op('Unsqueeze', [a, last]), c.op('Unsqueeze', [c.gradient(0), first])])
        : undefined,
    ]
  }
  // [..., M, K]·[K] → [..., M]
  g = c.op('Unsqueeze', [g, last])
  const toB = c.needs(1)
    ? c.op('Squeeze', [c.op('MatMul', [swapLast(c, a, left), g]), last])
    : undefined
  const dims = c.shapes.dims(a)
  return [
    c.needs(0) ? c.op('Mul', [g, b]) : undefined,
    toB && dims && c.unbroadcast(toB, [...dims.slice(0, -2), dims.at(-1) as Size], b),
  ]
}

/** α·A′·B′ + β·C. */
const gemm: GradientRule = {
  backward(c) {
    const { node } = c
    const g = c.gradient(0) as Value
    const [isLeftTurned, isRightTurned] = [
      intAttribute(node, 'transA', 0) === 1,
      intAttribute(node, 'transB', 0) === 1,
    ]
    const [alpha, beta] = [floatAttribute(node, 'alpha', 1), floatAttribute(node, 'beta', 1)]
    const product = (x: Value, isXTurned: boolean, y: Value, isYTurned: boolean): Value =>
      c.op('Gemm', [x, y], {
        alpha: { kind: 'float', value: alpha },
        transA: Number(isXTurned),
        transB: Number(isYTurned),
      })
    const [a, b] = [c.input(0), c.input(1)]
    const toA = (): Value =>
      isLeftTurned ? product(b, isRightTurned, g, true) : product(g, false, b, !isRightTurned)
    const toB = (): Value =>
      isRightTurned ? product(g, true, a, isLeftTurned) : product(a, !isLeftTurned, g, false)
    const bias = node.inputs[2]
    const toBias = (): Value =>
      c.unbroadcast(
        beta === 1 ? g : c.op('Mul', [g, c.scalar(beta, c.output(0))]),
        c.shapes.dims(c.output(0)),
        bias as Value,
      )
    return [
      c.needs(0) ? toA() : undefined,
      c.needs(1) ? toB() : undefined,
      c.needs(2) ? toBias() : undefined,
    ]
  },
}

/**
 * The gradient of an operand is the product of g and the other operands, with the operand's letters
 * as the result. Letters that only this operand has were summed: they are spread again.
 */
const einsum: GradientRule = {
  backward(c) {
    const { node } = c
    const terms = spellOut(c)
    const result = terms.pop() ?? ''
    return node.inputs.map((input, index) => {
      if (!input || !c.needs(index)) return undefined
      const own = terms[index] as string
      const others = terms.filter((_, other) => other !== index)
      const inputs = node.inputs.filter((_, other) => other !== index) as Value[]
      const known = new Set([...result, ...others.join('')])
      const reachable = [...own].filter((letter) => known.has(letter)).join('')
      const equation = `${[result, ...others].join(',')}->${reachable}`
      const found = c.op('Einsum', [c.gradient(0), ...inputs], { equation })
      return spread(c, found, own, reachable, input)
    })
  },
}

/** Operand terms and the result's, '...' written as letters of its own. */
function spellOut(c: GradientContext): string[] {
  const equation = stringAttribute(c.node, 'equation')?.replaceAll(' ', '') ?? ''
  const [left = '', stated] = equation.split('->')
  const terms = left.split(',')
  const free = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'].filter(
    (letter) => !equation.includes(letter),
  )
  const letters = [...terms.join('').replaceAll('.', '')]
  const once = letters.filter((each) => letters.indexOf(each) === letters.lastIndexOf(each)).sort()
  const result = stated ?? `${left.includes('...') ? '...' : ''}${once.join('')}`
  const expand = (term: string, rank: number): string => {
    const count = rank - term.replace('...', '').length
    return term.replace('...', free.slice(0, count).reverse().join(''))
  }
  return [
    ...terms.map((term, index) => expand(term, c.rank(c.input(index)))),
    expand(result, c.rank(c.output(0))),
  ]
}

/** Puts back letters that were summed, as ones, and sums sizes of 1 that were broadcast. */
function spread(
  c: GradientContext,
  found: Value,
  own: string,
  reachable: string,
  target: Value,
): Value {
  const missing = [...own].flatMap((letter, axis) => (reachable.includes(letter) ? [] : [axis]))
  if (missing.length === 0) return found
  const opened = c.op('Unsqueeze', [found, c.ints(...missing)])
  return c.op('Expand', [opened, c.shapeOf(target)])
}

export const contractionRules: Readonly<Record<string, GradientRule>> = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
}
