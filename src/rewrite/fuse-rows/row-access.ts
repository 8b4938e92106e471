/** How a tensor is read along the rows of a larger one: standard broadcasting, where it is a matter of whole rows. */
import type { Read } from '../../../kernels/row-program/program.js'

export type RowAccess = Pick<Read, 'count' | 'repeats' | 'columns'>

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1)

/** Of a tensor of `dims` beside rows of `whole` [..., columns]; undefined where its rows come in no such order. */
export function accessOf(dims: readonly number[], whole: readonly number[]): RowAccess | undefined {
  if (dims.length > whole.length) return undefined
  const own = [...whole.slice(dims.length).map(() => 1), ...dims]
  const last = own.pop() ?? 1
  const columns = whole.at(-1) ?? 1
  if (last !== 1 && last !== columns) return undefined
  const leading = whole.slice(0, -1)
  if (own.some((size, axis) => size !== 1 && size !== leading[axis])) return undefined
  // Axes that are its own lie side by side: those before repeat all of it, those behind each row.
  const isOwn = own.map((size) => size > 1)
  const first = isOwn.indexOf(true)
  if (first < 0) return { count: 1, repeats: 1, columns: last }
  const end = isOwn.lastIndexOf(true) + 1
  const between = leading.slice(first, end)
  if (between.some((size, at) => size > 1 && !isOwn[first + at])) return undefined
  return { count: product(between), repeats: product(leading.slice(end)), columns: last }
}
