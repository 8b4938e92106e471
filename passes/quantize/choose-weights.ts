/** Which weights are quantised and how: what is protected, what can't be and why, which grid each one gets. */

import type { Value } from '../../src/graph/graph.js'
import { findBlocks } from '../../src/model/block.js'
import type { TransformerModel } from '../../src/model/model.js'
import { findReads } from '../../src/model/reads.js'
import { blockSizes, type Grid } from '../../src/quantize/grid.js'
import {
  findQuantizable,
  type QuantizableWeight,
  readMatrix,
} from '../../src/quantize/quantizable.js'
import type { QuantizeOptions } from './options.js'

export interface ChosenWeight {
  readonly weight: QuantizableWeight
  readonly grid: Grid
  /** Whether rows are looked up in it, or in another constant of the same numbers. */
  readonly isTable: boolean
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
  const tables = weights.filter(({ lookups }) => lookups.length > 0)
  const places = options.protect.length > 0 ? placesOf(view) : new Map<Value, readonly unknown[]>()
  const chosen: ChosenWeight[] = []
  const left: LeftWeight[] = others.map(({ value, reason }) => ({ name: value.name, reason }))
  for (const weight of weights) {
    const { name } = weight.value
    const isProtected = places
      .get(weight.value)
      ?.some((place) => options.protect.some((each) => each === place))
    const isTable = tables.some((table) => table === weight || areAlike(table, weight))
    const grid = gridOf(weight.inputs, isTable, options)
    if (isProtected) left.push({ name, reason: 'it is protected' })
    else if (!grid) left.push({ name, reason: 'tables stay as they are' })
    else if (isTable && (weight.inputs * grid.bits) % 8 !== 0)
      left.push({ name, reason: `its rows of ${weight.inputs} don't end with a byte` })
    else chosen.push({ weight, grid, isTable })
  }
  return { chosen, left }
}

/** Exporters store a tied head again, turned: equal codes are written once. */
function areAlike(one: QuantizableWeight, other: QuantizableWeight): boolean {
  if (one.outputs !== other.outputs || one.inputs !== other.inputs) return false
  if (one.tensor.dataType !== other.tensor.dataType) return false
  const numbers = readMatrix(other)
  return readMatrix(one).every((each, i) => each === numbers[i])
}

function gridOf(inputs: number, isTable: boolean, options: QuantizeOptions): Grid | undefined {
  const { symmetric, precision, tables } = options
  // Products pad their last block: smaller ones that fill up are fewer bytes.
  const block =
    blockSizes.findLast((size) => size <= options.block && inputs % size === 0) ?? options.block
  const wanted = isTable ? tables : precision
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
