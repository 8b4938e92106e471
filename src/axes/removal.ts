/**
 * What stays of every axis once members of some leaves are removed: index lists and sizes,
 * composed through products, sums and blocks. Lists ascend.
 */
import { Size } from '../shape/symbolic.js'
import { type Axis, leavesOf } from './axis.js'

export class Removal {
  private readonly lists = new Map<Axis, readonly number[]>()
  private readonly keep: ReadonlyMap<Axis, readonly number[]>

  /** `keep`: the members that stay, by leaf. Leaves that lose nothing may be left out. */
  constructor(keep: ReadonlyMap<Axis, readonly number[]>) {
    this.keep = new Map([...keep].map(([leaf, members]) => [leaf.root, members]))
  }

  isTouched(axis: Axis): boolean {
    return leavesOf(axis).some((leaf) => this.keep.has(leaf))
  }

  /** Members of the axis that stay; undefined where all do, or where its size is not a number. */
  kept(axis: Axis): readonly number[] | undefined {
    return this.isTouched(axis) && axis.size.value !== undefined ? this.members(axis) : undefined
  }

  sizeOf(axis: Axis): Size {
    const root = axis.root
    if (!this.isTouched(root)) return root.size
    const { structure } = root
    if (!structure) return Size.of(this.keep.get(root)?.length ?? 0)
    switch (structure.kind) {
      case 'product':
        return structure.factors.reduce((size, each) => size.mul(this.sizeOf(each)), Size.of(1))
      case 'sum':
        return structure.parts.reduce((size, each) => size.add(this.sizeOf(each)), Size.of(0))
      case 'packed':
        return Size.of(Math.ceil((this.sizeOf(structure.of).value ?? 0) / structure.perByte))
      case 'blocks':
        return Size.of(this.members(root).length)
    }
  }

  private members(axis: Axis): readonly number[] {
    const root = axis.root
    const known = this.lists.get(root)
    if (known) return known
    const list = this.compose(root)
    this.lists.set(root, list)
    return list
  }

  private compose(root: Axis): readonly number[] {
    const size = root.size.value ?? 0
    if (!this.isTouched(root)) return Array.from({ length: size }, (_, index) => index)
    const { structure } = root
    if (!structure) return this.keep.get(root) ?? []
    switch (structure.kind) {
      case 'product':
        return structure.factors.reduce<readonly number[]>(
          (outer, factor) => {
            const width = factor.size.value ?? 1
            const inner = this.members(factor)
            return outer.flatMap((o) => inner.map((i) => o * width + i))
          },
          [0],
        )
      case 'sum': {
        let offset = 0
        return structure.parts.flatMap((part) => {
          const from = offset
          offset += part.size.value ?? 0
          return this.members(part).map((member) => from + member)
        })
      }
      case 'packed':
        return []
      case 'blocks': {
        const { block } = structure
        const runs = this.members(structure.of).map((member) => Math.floor(member / block))
        return [...new Set(runs)]
      }
    }
  }
}
