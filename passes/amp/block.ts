/** What AMP may drop: units of one dimension that end in one output projection. */
import type { Contraction } from '../../src/axes/analysis.js'
import { Removal } from '../../src/axes/removal.js'
import type { ModelDimension, TransformerModel } from '../../src/model/model.js'
import { type Projection, readProjection } from './projection.js'

export interface PrunableBlock {
  /** Key of its statistics: `attention.3`, `feedForward.3`. */
  readonly key: string
  readonly kind: 'attention' | 'feedForward'
  readonly layer: number
  readonly dimension: ModelDimension
  readonly contraction: Contraction
  /** undefined where the weight is not a plain matrix: then nothing is re-fitted. */
  readonly projection: Projection | undefined
  /** Units that may go: members of the dimension, aligned runs where it has a granularity. */
  readonly units: readonly Unit[]
}

export interface Unit {
  readonly members: readonly number[]
  /** Inputs of the output projection that are theirs. */
  readonly rows: readonly number[]
}

/** Attention by key-value head (query group where there is one), feed-forward by neuron. */
export function findBlocks(view: TransformerModel): PrunableBlock[] {
  const blocks: PrunableBlock[] = []
  const taken = new Set<ModelDimension>()
  const add = (
    key: string,
    kind: PrunableBlock['kind'],
    layer: number,
    dimension: ModelDimension | undefined,
    contraction: Contraction | undefined,
  ): void => {
    // A dimension that several layers share is cut once, by the first.
    if (!dimension?.sliceable || !contraction || taken.has(dimension)) return
    taken.add(dimension)
    blocks.push({
      key,
      kind,
      layer,
      dimension,
      contraction,
      projection: readProjection(contraction),
      units: unitsOf(dimension, contraction),
    })
  }
  for (const [index, block] of view.attention.entries())
    add(`attention.${index}`, 'attention', block.layer, block.dimension, block.outputProjection)
  for (const [index, block] of view.feedForward.entries())
    if (!block.mixture)
      add(
        `feedForward.${index}`,
        'feedForward',
        block.layer,
        block.dimension,
        block.outputProjection,
      )
  return blocks
}

function unitsOf(dimension: ModelDimension, contraction: Contraction): Unit[] {
  const { size, granularity, axis } = dimension
  const what = contraction.operands[0]?.what
  const units: Unit[] = []
  for (let start = 0; start < size; start += granularity) {
    const members = Array.from({ length: Math.min(granularity, size - start) }, (_, i) => start + i)
    const removal = new Removal(
      new Map([
        [axis, Array.from({ length: size }, (_, i) => i).filter((i) => !members.includes(i))],
      ]),
    )
    const kept = new Set(what && removal.kept(what))
    const rows = Array.from({ length: what?.size.value ?? 0 }, (_, i) => i).filter(
      (i) => !kept.has(i),
    )
    units.push({ members, rows })
  }
  return units
}
