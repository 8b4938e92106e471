/**
 * Making axes the same. Joining a product and a product matches running products and splits the
 * larger factor; two sums meet in the union of their borders; a sum of equal or divisible parts
 * can be a product. Factorisations that don't nest ([6, 4] against [4, 6]) are blocked, never guessed.
 */
import type { Node } from '../graph/graph.js'
import { Size } from '../shape/symbolic.js'
import { Axis, childrenOf, type Structure } from './axis.js'

/** Joins two axes of equal size. False when they could not be: both are then blocked. */
export function unify(left: Axis, right: Axis, node: Node | undefined): boolean {
  const a = left.root
  const b = right.root
  if (a === b) return true
  if (!a.size.equals(b.size)) {
    const text = `sizes ${a.size} and ${b.size} meet`
    a.block(node, text)
    b.block(node, text)
    return false
  }
  if (a.size.isOne) return true
  if (!a.structure) {
    a.mergeInto(b)
    return true
  }
  if (!b.structure) {
    b.mergeInto(a)
    return true
  }
  const joined = joinStructures(a, a.structure, b, b.structure, node)
  // Both now have the same leaves, so either structure stands for the class.
  if (a.root !== b.root) a.mergeInto(b)
  return joined
}

function joinStructures(
  a: Axis,
  aStructure: Structure,
  b: Axis,
  bStructure: Structure,
  node: Node | undefined,
): boolean {
  if (aStructure.kind === 'product' && bStructure.kind === 'product')
    return matchProducts(aStructure.factors, bStructure.factors, node)
  if (aStructure.kind === 'sum' && bStructure.kind === 'sum')
    return matchSums(aStructure.parts, bStructure.parts, node)
  if ('of' in aStructure || 'of' in bStructure)
    return joinDerived(a, aStructure, b, bStructure, node)
  const [sum, product] = aStructure.kind === 'sum' ? [a, bStructure] : [b, aStructure]
  return matchProducts([sum], childrenOf(product), node)
}

/**
 * Joins two sequences of factors with the same total: the rule of Reshape.
 * Works from the left, then from the right; what is left in the middle has no common factors.
 */
export function matchProducts(
  left: readonly Axis[],
  right: readonly Axis[],
  node: Node | undefined,
): boolean {
  const a = left.filter((axis) => !axis.size.isOne)
  const b = right.filter((axis) => !axis.size.isOne)
  peel(a, b, node, 'left')
  peel(a, b, node, 'right')
  if (a.length === 0 && b.length === 0) return true
  const text = `${sizes(a)} and ${sizes(b)} have no common factors`
  for (const axis of [...a, ...b]) axis.block(node, text)
  return false
}

function joinDerived(
  a: Axis,
  aStructure: Structure,
  b: Axis,
  bStructure: Structure,
  node: Node | undefined,
): boolean {
  if ('of' in aStructure && 'of' in bStructure && aStructure.kind === bStructure.kind)
    return unify(aStructure.of, bStructure.of, node)
  a.block(node, 'blocks of a quantised weight meet another axis')
  b.block(node, 'blocks of a quantised weight meet another axis')
  return false
}

const sizes = (axes: readonly Axis[]): string => `[${axes.map((axis) => axis.size).join(', ')}]`

type End = 'left' | 'right'

const take = (axes: Axis[], end: End): Axis => (end === 'left' ? axes.shift() : axes.pop()) as Axis

const give = (axes: Axis[], back: readonly Axis[], end: End): void => {
  const real = back.filter((axis) => !axis.size.isOne)
  if (end === 'left') axes.unshift(...real)
  else axes.push(...real)
}

/** Joins factors at one end until they no longer nest; leaves the rest in `a` and `b`. */
function peel(a: Axis[], b: Axis[], node: Node | undefined, end: End): void {
  while (a.length > 0 && b.length > 0) {
    const x = take(a, end).root
    const y = take(b, end).root
    if (x === y) continue
    if (x.size.equals(y.size)) {
      unify(x, y, node)
      continue
    }
    const ySmaller = x.size.divideExact(y.size)
    const xSmaller = y.size.divideExact(x.size)
    const split = ySmaller
      ? splitOff(x, y.size, ySmaller, end)
      : xSmaller
        ? splitOff(y, x.size, xSmaller, end)
        : undefined
    // One side can still be taken apart even where the sizes don't divide.
    const loosened = split ?? loosen(x) ?? loosen(y)
    if (!loosened) {
      give(a, [x], end)
      give(b, [y], end)
      return
    }
    const splitsX = split ? Boolean(ySmaller) : loosened === loosen(x)
    give(a, splitsX ? loosened : [x], end)
    give(b, splitsX ? [y] : loosened, end)
  }
}

const loosen = (axis: Axis): readonly Axis[] | undefined =>
  axis.structure?.kind === 'product' ? axis.structure.factors : undefined

/** Factors of `axis` such that one of `size` stands at the given end, or the factors it has. */
function splitOff(axis: Axis, size: Size, rest: Size, end: End): readonly Axis[] | undefined {
  if (axis.structure?.kind === 'product') return axis.structure.factors
  const [outer, inner] = end === 'left' ? [size, rest] : [rest, size]
  if (axis.structure && 'of' in axis.structure) return undefined
  if (axis.structure?.kind === 'sum') return factorSum(axis, axis.structure.parts, outer, inner)
  const factors = [new Axis(outer), new Axis(inner)]
  axis.structure = { kind: 'product', factors }
  return factors
}

/** (8·d | 2·d | 2·d) as [(8 | 2 | 2), d]: every part must hold whole inner factors. */
function factorSum(
  axis: Axis,
  parts: readonly Axis[],
  outer: Size,
  inner: Size,
): readonly Axis[] | undefined {
  const counts = parts.map((part) => part.size.divideExact(inner))
  if (counts.some((count) => !count)) return undefined
  const shared = new Axis(inner)
  const outerParts = (counts as Size[]).map((count) => new Axis(count))
  const outerAxis = new Axis(outer)
  outerAxis.structure = { kind: 'sum', parts: outerParts }
  const factors = [outerAxis, shared]
  axis.structure = { kind: 'product', factors }
  parts.forEach((part, index) => {
    matchProducts([part], [outerParts[index] as Axis, shared], undefined)
  })
  return factors
}

function matchSums(left: readonly Axis[], right: readonly Axis[], node: Node | undefined): boolean {
  const a = [...left]
  const b = [...right]
  while (a.length > 0 && b.length > 0) {
    const x = a.shift() as Axis
    const y = b.shift() as Axis
    if (x.size.equals(y.size)) {
      unify(x, y, node)
      continue
    }
    const xSize = x.size.value
    const ySize = y.size.value
    const halves =
      xSize === undefined || ySize === undefined
        ? undefined
        : xSize > ySize
          ? splitAt(x, y.size)
          : splitAt(y, x.size)
    if (!halves) {
      for (const axis of [x, y, ...a, ...b]) axis.block(node, 'parts with different borders meet')
      return false
    }
    if ((xSize as number) > (ySize as number)) {
      a.unshift(...halves)
      b.unshift(y)
    } else {
      a.unshift(x)
      b.unshift(...halves)
    }
  }
  return a.length === b.length
}

/**
 * The axis in two pieces, the first of `size` members; refines what it is made of. Undefined where the
 * border is inside a factor, or outside of the axis in a damaged model.
 */
function splitAt(axis: Axis, size: Size): [Axis, Axis] | undefined {
  const root = axis.root
  const rest = root.size.sub(size)
  if ((rest.value ?? 0) < 0 || (size.value ?? 0) < 0) return undefined
  if (!root.structure) {
    const halves: [Axis, Axis] = [new Axis(size), new Axis(rest)]
    root.structure = { kind: 'sum', parts: halves }
    return halves
  }
  if (root.structure.kind === 'sum') return splitSum(root.structure.parts, size, rest)
  if ('of' in root.structure) return undefined
  const [first, ...inner] = root.structure.factors as readonly [Axis, ...Axis[]]
  const innerSize = root.size.divideExact(first.size)
  const head = innerSize && size.divideExact(innerSize)
  const halves = head && splitAt(first, head)
  if (!halves) return undefined
  return [productOf([halves[0], ...inner]), productOf([halves[1], ...inner])]
}

function splitSum(parts: readonly Axis[], size: Size, rest: Size): [Axis, Axis] | undefined {
  const before: Axis[] = []
  let left = size
  for (const [index, part] of parts.entries()) {
    if (left.isZero) return [sumOf(before, size), sumOf(parts.slice(index), rest)]
    const after = left.sub(part.size)
    if (after.isZero || !isPositive(part.size.sub(left))) {
      before.push(part)
      left = after
      continue
    }
    const halves = splitAt(part, left)
    if (!halves) return undefined
    return [
      sumOf([...before, halves[0]], size),
      sumOf([halves[1], ...parts.slice(index + 1)], rest),
    ]
  }
  return undefined
}

const isPositive = (size: Size): boolean => size.value !== undefined && size.value > 0

export function sumOf(parts: readonly Axis[], size: Size): Axis {
  const real = parts.filter((part) => !part.size.isZero)
  if (real.length === 1) return real[0] as Axis
  const axis = new Axis(size)
  axis.structure = { kind: 'sum', parts: real }
  return axis
}

/** An axis made of these factors, outermost first. */
export function productOf(factors: readonly Axis[]): Axis {
  const real = factors.filter((factor) => !factor.size.isOne)
  if (real.length === 1) return real[0] as Axis
  const axis = new Axis(real.reduce((size, factor) => size.mul(factor.size), Size.of(1)))
  if (real.length > 0) axis.structure = { kind: 'product', factors: real }
  return axis
}

/** Members [start, start + length) of an axis. */
export function segmentOf(axis: Axis, start: Size, length: Size): Axis | undefined {
  if (start.isZero && length.equals(axis.size)) return axis
  const tail = start.isZero ? axis : splitAt(axis, start)?.[1]
  if (!tail) return undefined
  return length.equals(tail.size) ? tail : splitAt(tail, length)?.[0]
}
