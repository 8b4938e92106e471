/** Which weights are quantised and how: what is protected, what can't be and why, which grid each one gets. */

import type { Value } from '../../src/graph/graph.js'
import { findBlocks } from '../../src/model/block.js'
import type { TransformerModel } from '../../src/model/model.js'
import { findReads } from '../../src/model/reads.js'
import type { Grid } from '../../src/quantize/grid.js'
import { findQuantizable, type QuantizableWeight } from '../../src/quantize/quantizable.js'
import type { QuantizeOptions } from './options.js'

export interface ChosenWeight {
  readonly weight: QuantizableWeight
  readonly grid: Grid
}

/** A matrix that stays as it is. */
export interface LeftWeight {
  readonly name: string
  readonly reason: string
}

export interface ChosenWeights {
  readonly chosen: readonly ChosenWeight[]
  readonly left: readonly LeftWeight[]
}

export function chooseWeights(view: TransformerModel, options: QuantizeOptions): ChosenWeights {
  const { graph, analysis } = view
  const { weights, others } = findQuantizable(graph, analysis.shapes)
  const places = options.protect.length > 0 ? placesOf(view) : new Map<Value, readonly unknown[]>()
  const chosen: ChosenWeight[] = []
  const left: LeftWeight[] = others.map(({ value, reason }) => ({ name: value.name, reason }))
  for (const weight of weights) {
    const { name } = weight.value
    const isProtected = places
      .get(weight.value)
      ?.some((place) => options.protect.some((each) => each === place))
    const grid = gridOf(weight, options)
    if (isProtected) left.push({ name, reason: 'it is protected' })
    else if (!grid) left.push({ name, reason: 'tables stay as they are' })
    else if (weight.lookups.length > 0 && (weight.inputs * grid.bits) % 8 !== 0)
      left.push({ name, reason: `its rows of ${weight.inputs} don't end with a byte` })
    else chosen.push({ weight, grid })
  }
  return { chosen, left }
}

function gridOf({ lookups }: QuantizableWeight, options: QuantizeOptions): Grid | undefined {
  const { block, symmetric, precision, tables } = options
  const wanted = lookups.length > 0 ? tables : precision
  return wanted === 'float' ? undefined : { bits: wanted === 'int4' ? 4 : 8, block, symmetric }
}

/** The layer and the block of each weight that a block reads the stream or writes it through. */
function placesOf(view: TransformerModel): Map<Value, readonly (number | string)[]> {
  const reads = findReads(view)
  const found = new Map<Value, readonly (number | string)[]>()
  for (const { key, layer, projection } of findBlocks(view)) {
    const own = (reads.get(key) ?? []).flatMap(({ projections }) => projections)
    for (const each of projection ? [projection, ...own] : own) found.set(each.weight, [layer, key])
  }
  return found
}
