/**
 * What differs between two models as graphs: blocks layer by layer, operators, inputs and outputs,
 * opsets, metadata, constants. Names are compared where both have them; nothing is run.
 */
import type { Model, Value } from '../graph/graph.js'
import { countBytes } from '../inspect/inspect.js'
import { countParameters } from '../inspect/parameters.js'
import { readModel, type TransformerModel } from '../model/model.js'
import type { ModelDimension } from '../model/model-dimension.js'
import { layersOfConstants } from './constant-layers.js'
import { type ConstantDifferences, compareConstants } from './constants.js'

export interface BlockSizes {
  /** Of an attention block. */
  readonly heads?: number
  readonly keyValueHeads?: number
  readonly headSize?: number
  readonly valueHeadSize?: number
  /** Of a feed-forward block. */
  readonly width?: number
  /** That belong to its heads or its width; null where that is not known. */
  readonly parameters: number | null
}

/** One thing before and after; null where one of the models doesn't have it. */
export interface Pair<Item> {
  readonly before: Item | null
  readonly after: Item | null
}

export interface BlockPair extends Pair<BlockSizes> {
  readonly layer: number
  readonly block: 'self' | 'cross' | 'feedForward'
}

export interface Named extends Pair<string> {
  readonly name: string
}

export interface StructuralDifference {
  readonly parameters: Pair<number>
  readonly bytes: Pair<number>
  readonly layers: Pair<number>
  /** Every block, changed or not, in order of execution. */
  readonly blocks: readonly BlockPair[]
  /** What changed, by name; what is the same is left out. */
  readonly operators: readonly (Pair<number> & { readonly name: string })[]
  readonly inputs: readonly Named[]
  readonly outputs: readonly Named[]
  readonly opsets: readonly Named[]
  readonly metadata: readonly Named[]
  readonly constants: ConstantDifferences
}

export function compareStructure(first: Model, second: Model): StructuralDifference {
  const [one, other] = [readModel(first.graph), readModel(second.graph)]
  const pair = <Item>(of: (model: Model, view: TransformerModel) => Item): Pair<Item> => ({
    before: of(first, one),
    after: of(second, other),
  })
  return {
    parameters: pair((_, { analysis }) => countParameters(analysis)),
    bytes: pair((model) => countBytes(model)),
    layers: pair((_, { layers }) => layers),
    blocks: compareBlocks(one, other),
    operators: changed(countOperators(first), countOperators(second)),
    inputs: changed(typesOf(first.graph.inputs), typesOf(second.graph.inputs)),
    outputs: changed(typesOf(first.graph.outputs), typesOf(second.graph.outputs)),
    opsets: changed(versionsOf(first), versionsOf(second)),
    metadata: changed(first.metadata, second.metadata),
    constants: compareConstants(
      first.graph,
      second.graph,
      new Map([...layersOfConstants(other), ...layersOfConstants(one)]),
    ),
  }
}

function changed<Item>(
  before: ReadonlyMap<string, Item>,
  after: ReadonlyMap<string, Item>,
): (Pair<Item> & { readonly name: string })[] {
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((name) => {
    const pair = { name, before: before.get(name) ?? null, after: after.get(name) ?? null }
    return pair.before === pair.after ? [] : [pair]
  })
}

function countOperators({ graph }: Model): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { operatorName } of graph.nodes())
    counts.set(operatorName, (counts.get(operatorName) ?? 0) + 1)
  return counts
}

const describeType = ({ dataType, dims }: NonNullable<Value['type']>): string =>
  `${dataType ?? '?'} ${dims ? `[${dims.map((dim) => dim ?? '?').join(', ')}]` : 'of any rank'}`

const typesOf = (values: readonly Value[]): Map<string, string> =>
  new Map(
    values
      .filter((value) => !value.constant)
      .map(({ name, type }) => [name, type ? describeType(type) : 'of any type']),
  )

const versionsOf = ({ opsets }: Model): Map<string, string> =>
  new Map([...opsets].map(([domain, version]) => [domain || 'ai.onnx', String(version)]))

function compareBlocks(first: TransformerModel, second: TransformerModel): BlockPair[] {
  const [before, after] = [blocksOf(first), blocksOf(second)]
  const keys = [...new Set([...before.keys(), ...after.keys()])]
  const place = (key: string): number => (before.get(key) ?? after.get(key))?.layer ?? 0
  return keys
    .sort((a, b) => place(a) - place(b))
    .map((key) => {
      const [one, other] = [before.get(key), after.get(key)]
      const { layer, block } = (one ?? other) as PlacedBlock
      return { layer, block, before: one?.sizes ?? null, after: other?.sizes ?? null }
    })
}

interface PlacedBlock {
  readonly layer: number
  readonly block: BlockPair['block']
  readonly sizes: BlockSizes
}

/** Blocks by layer, kind and their number among those of that layer and kind. */
function blocksOf(view: TransformerModel): Map<string, PlacedBlock> {
  const found = new Map<string, PlacedBlock>()
  const add = (layer: number, block: BlockPair['block'], sizes: BlockSizes): void => {
    let number = 0
    while (found.has(`${layer} ${block} ${number}`)) number++
    found.set(`${layer} ${block} ${number}`, { layer, block, sizes })
  }
  for (const {
    layer,
    kind,
    heads,
    keyValueHeads,
    headSize,
    valueHeadSize,
    dimension,
  } of view.attention)
    add(layer, kind, {
      heads,
      keyValueHeads,
      headSize,
      valueHeadSize,
      parameters: parametersOf(dimension),
    })
  for (const { layer, width, dimension } of view.feedForward)
    add(layer, 'feedForward', { width, parameters: parametersOf(dimension) })
  return found
}

const parametersOf = (dimension: ModelDimension | undefined): number | null =>
  dimension ? dimension.size * dimension.parametersPerMember : null
