/**
 * Work along rows as one operator: sums, products, activations, norms, softmax, picks by index and
 * what their backward passes are made of, wherever one hands rows to the next. Each operator of its
 * own would read and write all of them, which is what they cost. Where sizes are known;
 * intermediate results are float32 then, whatever they were.
 */
import type { GraphEdit } from '../../graph/edit.js'
import { captured } from '../../graph/extract.js'
import type { Node, Value } from '../../graph/graph.js'
import { onlyNumber } from '../../onnx/numbers.js'
import { elementCount } from '../../onnx/tensor.js'
import { compilesRowPrograms } from '../../runtime/own-kernels.js'
import type { ProviderName } from '../../runtime/provider.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { knownSizes } from '../../shape/known-sizes.js'
import { eraseUnread } from '../erase-unread.js'
import { emitRegion } from './emit-region.js'
import { type Region, Regions } from './regions.js'
import { accessOf } from './row-access.js'
import { type RowWork, rowWork } from './row-work.js'

/** Elements below which a pass over memory costs nothing beside its start. */
const WORTH_FUSING = 2 ** 14

/**
 * Elements from which on it pays for this provider; undefined where it can't compile row programs.
 * Asks the driver: once is enough.
 */
export const rowsWorthFusing = (provider: ProviderName): number | undefined =>
  compilesRowPrograms(provider) ? WORTH_FUSING : undefined

/** How many operators there are now, each of `least` elements or more. */
export function fuseRows(edit: GraphEdit, shapes: ShapeInfo, least = WORTH_FUSING): number {
  const nodes = [...edit.graph.nodes()]
  const works = new Map<Node, RowWork>()
  for (const node of nodes) {
    const work = [...captured(node)].length > 0 ? undefined : rowWork(node, shapes)
    if (work && hasAccess(work, shapes)) works.set(node, work)
  }
  const regions = new Regions(nodes, works, (value) =>
    shapes.dataType(value) === 'float32' ? 'wide' : 'narrow',
  )
    .find()
    .filter((region) => isWorthIt(region, works, least))
  const regionOf = new Map(regions.flatMap((region) => region.nodes.map((node) => [node, region])))
  const isRead = (value: Value, own: Region): boolean =>
    value.isGraphOutput ||
    [...value.uses].some(({ node }) => {
      const region = regionOf.get(node)
      const work = works.get(node)
      if (!region || !work) return true
      const isApart = work.apart.some((each) => each.value === value)
      return isApart || (region !== own && work.operands.includes(value))
    })
  const made = regions.filter((region) =>
    emitRegion(edit, region, { shapes, works, isRead: (value) => isRead(value, region) }),
  )
  const erased = new Set(made.flatMap((region) => region.nodes))
  const before = new Set(
    [...erased].flatMap((node) => node.inputs.flatMap((input) => input?.producer ?? [])),
  )
  for (const node of nodes.toReversed()) if (erased.has(node)) edit.erase(node)
  // What only moved columns for them is read by nobody now.
  for (const node of before) if (!erased.has(node)) eraseUnread(edit, node)
  if (made.length > 0) edit.sort()
  return made.length
}

const hasAccess = ({ dims, operands, apart }: RowWork, shapes: ShapeInfo): boolean =>
  [...operands, ...apart.map(({ value }) => value)].every((value) => {
    const sizes = knownSizes(value, shapes)
    return onlyNumber(value.constant) !== undefined || (sizes && accessOf(sizes, dims))
  })

/** At least two passes over all elements were made. */
function isWorthIt(
  { nodes, dims }: Region,
  works: ReadonlyMap<Node, RowWork>,
  least: number,
): boolean {
  const columns = dims.at(-1) as number
  const passes = nodes.filter((node) => works.get(node)?.dims.at(-1) === columns)
  return columns > 1 && passes.length > 1 && elementCount(dims) >= least
}
