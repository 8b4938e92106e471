/** Which member of a leaf every position of an axis belongs to: how one number a member is spread along an axis. */
import { type Axis, leavesOf } from './axis.js'

/** No member: another part of a sum. */
export const NO_MEMBER = -1

/** One list for each factor of the axis that holds the leaf; none where it doesn't occur. */
export function membersAlong(axis: Axis, leaf: Axis): readonly (readonly number[])[] {
  const root = axis.root
  const size = root.size.value
  if (size === undefined || !leavesOf(root).includes(leaf.root)) return []
  const { structure } = root
  if (!structure) return [Array.from({ length: size }, (_, position) => position)]
  if (structure.kind === 'product') {
    let inner = size
    return structure.factors.flatMap((factor) => {
      const own = factor.size.value ?? 1
      inner /= own
      const run = inner
      return membersAlong(factor, leaf).map((members) =>
        Array.from({ length: size }, (_, at) => members[Math.floor(at / run) % own] as number),
      )
    })
  }
  if (structure.kind !== 'sum') return []
  let at = 0
  const joined = new Array<number>(size).fill(NO_MEMBER)
  for (const part of structure.parts) {
    const [members = []] = membersAlong(part, leaf)
    for (const [index, member] of members.entries()) joined[at + index] = member
    at += part.size.value ?? 0
  }
  return [joined]
}
