/**
 * What an axis is made of. An `Axis` is a class of axes that are the same thing: one dimension of
 * many values, joined by the flow of data. It is a leaf (a dimension variable), a product of axes,
 * outermost first (`[heads, headSize]`), or a sum of axes laid end to end (`[q | k | v]`).
 * Structure lives in the class itself, so refining one occurrence refines all (docs/decisions/001).
 */
import type { Node } from '../graph/graph.js'
import type { Size } from '../shape/symbolic.js'

/** Why something cannot, or can only with a changed meaning, be removed; and where. */
export interface Reason {
  readonly node: string
  readonly text: string
  /** Whether the node stands in a branch that does again what another one does. */
  readonly isAgain?: boolean
}

export type Structure =
  | { readonly kind: 'product'; readonly factors: readonly Axis[] }
  | { readonly kind: 'sum'; readonly parts: readonly Axis[] }
  /** One member per aligned run of `block` members of another axis: scales of a quantised weight. */
  | { readonly kind: 'blocks'; readonly of: Axis; readonly block: number }
  /** Bytes that each hold `perByte` members of another axis, the last one padded: 4-bit zero points. */
  | { readonly kind: 'packed'; readonly of: Axis; readonly perByte: number }

/** What rules note about an axis for the reading of roles. */
export type Mark =
  /** Made by repeating one member: grouped queries' copies of a key-value head. */
  | 'repeated'
  /** A column of a contraction with a constant: the output of a projection. */
  | 'projected'

export class Axis {
  private parent: Axis | undefined
  structure: Structure | undefined
  /** No removal: an operator is not closed under it. */
  readonly blocked: Reason[] = []
  /** Removal changes the other members, for instance through a mean over all of them. */
  readonly entangled: Reason[] = []
  readonly marks = new Set<Mark>()
  /** Members go in aligned runs of this many. */
  granularity = 1

  constructor(readonly size: Size) {}

  /** The representative of the class. */
  get root(): Axis {
    let root: Axis = this
    while (root.parent) root = root.parent
    let each: Axis = this
    while (each.parent) {
      const next: Axis = each.parent
      each.parent = root === each ? undefined : root
      each = next
    }
    return root
  }

  /** Makes this class part of `other`'s; what was noted here is noted there. */
  mergeInto(other: Axis): void {
    const from = this.root
    const to = other.root
    if (from === to) return
    from.parent = to
    to.blocked.push(...from.blocked)
    to.entangled.push(...from.entangled)
    for (const mark of from.marks) to.marks.add(mark)
    to.granularity = leastCommonMultiple(to.granularity, from.granularity)
  }

  block(node: Node | undefined, text: string): void {
    addReason(this.root.blocked, node, text)
  }

  entangle(node: Node, text: string): void {
    addReason(this.root.entangled, node, text)
  }
}

function addReason(reasons: Reason[], node: Node | undefined, text: string): void {
  const where = node?.label ?? ''
  if (!reasons.some((reason) => reason.node === where && reason.text === text))
    reasons.push({ node: where, text, ...(node?.branch?.isAgain && { isAgain: true }) })
}

/** Leaves of an axis, in order, each as often as it occurs. */
export function leavesOf(axis: Axis): Axis[] {
  const root = axis.root
  if (!root.structure) return [root]
  const children = childrenOf(root.structure)
  return children.flatMap(leavesOf)
}

/** Whether an axis is made of any of these leaves. */
export const sharesLeaf = (axis: Axis, leaves: ReadonlySet<Axis>): boolean =>
  leavesOf(axis).some((leaf) => leaves.has(leaf))

export function childrenOf(structure: Structure): readonly Axis[] {
  if (structure.kind === 'product') return structure.factors
  return structure.kind === 'sum' ? structure.parts : [structure.of]
}

/** Leaves of the factors of an axis that is a product (of products); sums are opaque here. */
export function factorsOf(axis: Axis): Axis[] {
  const root = axis.root
  return root.structure?.kind === 'product' ? root.structure.factors.flatMap(factorsOf) : [root]
}

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b)

export const leastCommonMultiple = (a: number, b: number): number =>
  (a / greatestCommonDivisor(a, b)) * b
