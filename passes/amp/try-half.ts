/** What trying a block is: half of what may go from it goes, re-fitted where a weight can answer for it. */
import type { Calibration } from '../../src/calibrate/state.js'
import type { GraphEdit } from '../../src/graph/edit.js'
import type { Value } from '../../src/graph/graph.js'
import type { Products } from '../../src/linear-algebra/products.js'
import { toWeight } from '../../src/model/projection.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import type { Ranking } from '../../src/repair/elimination.js'
import { gateBlock } from '../../src/repair/gate-block.js'
import type { Choice, PrunableBlock } from '../../src/repair/prunable.js'
import { refitBlock } from '../../src/repair/refit.js'
import { inferShapes } from '../../src/shape/infer.js'

/** A block without half of what may go, and the error that the ranking says of it. */
export interface Trial {
  /** What is changed, by name. */
  readonly place: string
  readonly change: (change: GraphEdit) => void
  readonly error: number
}

export async function tryHalf(
  block: PrunableBlock,
  calibration: Calibration,
  rankings: ReadonlyMap<Choice, Ranking>,
  { products, ridge }: { readonly products: Products; readonly ridge: number },
): Promise<Trial | undefined> {
  const choice = block.choices.find((each) => rankings.has(each))
  const ranking = choice && rankings.get(choice)
  const statistics = calibration.get(block.key)
  const { projection } = block
  if (!choice || !ranking || !statistics?.moments) return undefined
  const count = Math.max(1, Math.floor(ranking.errors.length / 2))
  const error = ranking.errors[count - 1] ?? 0
  if (!(error > 0)) return undefined
  if (block.isUnmixed) {
    const lost = ranking.order.slice(0, count).flatMap((unit) => choice.units[unit]?.rows ?? [])
    return { place: block.input.name, change: (change) => silence(change, block, lost), error }
  }
  if (!projection) return undefined
  const { moments, tokens } = statistics
  const fitted = await refitBlock(
    block,
    { moments, tokens, missing: undefined, means: undefined },
    {
      counts: new Map([[choice, count]]),
      ridge,
      fixed: rankings,
      gone: [],
      products,
      metric: undefined,
    },
  )
  const { name } = projection.weight
  const weight = fitted && toWeight(projection, fitted.weight)
  return (
    weight && {
      place: name,
      change: (change) => change.setConstant(change.graph.values.get(name) as Value, weight),
      error,
    }
  )
}

/** What a block says, with zeros in some of its places. */
function silence(change: GraphEdit, block: PrunableBlock, lost: readonly number[]): void {
  const gone = new Set(lost)
  const kept = Array.from({ length: block.width }, (_, row) => (gone.has(row) ? 0 : 1))
  gateBlock(change, inferShapes(change.graph), block, () =>
    change.constant(float32Tensor([block.width], kept)),
  )
}
