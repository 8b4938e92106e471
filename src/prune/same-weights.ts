/**
 * Whether a plan that was made for one model of a folder is one for another: a decoder with a cache has the
 * weights of the one without, an encoder beside it has layers of the same names and weights of its own.
 */
import type { Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { ModelDimension } from '../model/model-dimension.js'
import { isFloating } from '../onnx/data-type.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import type { PlanPart } from '../plan/plan.js'

/**
 * Matrices that would lose members are those that the plan was made on, in whatever order their numbers
 * lie and in half precision too. Where all are quantised there is nothing to compare.
 */
export function hasSameWeights(
  one: TransformerModel,
  other: TransformerModel,
  part: PlanPart,
): boolean {
  return part.slices.every(({ dimension }) => {
    const [own, others] = [one, other].map(({ dimensions }) =>
      matricesOf(dimensions.find(({ id }) => id === dimension)),
    )
    return others?.every((each) => own?.some((known) => isAlike(known, each))) ?? true
  })
}

interface Print {
  readonly count: number
  readonly sizes: number
  readonly squares: number
}

function matricesOf(dimension: ModelDimension | undefined): Print[] {
  const values = new Set(dimension?.places.map(({ value }) => value))
  return [...values].flatMap((value) => printOf(value) ?? [])
}

/** Sums that don't ask for an order. */
function printOf({ constant }: Value): Print | undefined {
  if (!constant || constant.dims.length < 2 || !isFloating(constant.dataType)) return undefined
  const read = fromConstant(constant)
  if (!read) return undefined
  const numbers = numbersOf(read)
  let [sizes, squares] = [0, 0]
  for (const number of numbers) {
    sizes += Math.abs(number)
    squares += number * number
  }
  return { count: numbers.length, sizes, squares }
}

/** Half precision rounds by 2⁻¹¹. */
const isAlike = (one: Print, other: Print): boolean =>
  one.count === other.count && isNear(one.sizes, other.sizes) && isNear(one.squares, other.squares)

const isNear = (one: number, other: number): boolean =>
  Math.abs(one - other) <= 1e-3 * Math.max(one, other)
