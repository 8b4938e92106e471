/**
 * What went, layer by layer, counted in the members of the original: parts of a plan count each in what
 * the ones before left. Sizes are held against the pruned model itself.
 */
import { AttncError } from '../errors.js'
import type { TransformerModel } from '../model/model.js'
import type { ModelDimension } from '../model/model-dimension.js'
import type { Sensitivity } from '../plan/findings.js'
import type { Plan, PlanPart } from '../plan/plan.js'
import type { Change, LayerEntry, Strip } from './report-data.js'

export interface LayerInput {
  readonly plan: Plan
  readonly views: Change<TransformerModel>
  /** Bytes a token takes in the cache, by member of a dimension. */
  readonly cacheCosts: Change<ReadonlyMap<string, number>>
}

/** Error: REPORT_OTHER_PLAN. */
export function describeLayers(input: LayerInput): LayerEntry[] {
  const { plan, views } = input
  const kept = keptMembers(plan, views.before)
  checkSizes(kept, views)
  const ranked = rankings(plan)
  const shown = views.before.dimensions.filter(
    ({ id, size, ...rest }) =>
      (kept.get(id)?.length ?? size) < size || isCounted(rest, views.before),
  )
  const layers = new Map<number | null, ModelDimension[]>()
  for (const dimension of shown) {
    for (const layer of layersOf(dimension, views.before))
      layers.set(layer, [...(layers.get(layer) ?? []), dimension])
  }
  const patterns = patternsOf(plan.parts, views.before)
  for (const layer of patterns.keys()) if (!layers.has(layer)) layers.set(layer, [])
  return [...layers]
    .sort(([one], [other]) => (one ?? Number.MAX_SAFE_INTEGER) - (other ?? Number.MAX_SAFE_INTEGER))
    .map(([layer, dimensions]) => {
      const own = dimensions.filter((each) => (each.layer ?? null) === layer)
      return {
        layer,
        strips: dimensions.map((each) => ({
          ...stripOf(each, kept.get(each.id), ranked.get(each.id)),
          queriesPerMember: queriesOf(each, views.before),
        })),
        attends: (layer !== null && patterns.get(layer)) || [],
        cacheBytesPerToken: cacheOf(own, input),
        parameters: parametersOf(own, views),
      }
    })
}

/** Heads and widths; groups of queries are counted with the heads where there are both. */
const isCounted = (
  { role, layer }: Pick<ModelDimension, 'role' | 'layer'>,
  { dimensions }: TransformerModel,
): boolean =>
  role === 'keyValueHeads' ||
  role === 'width' ||
  (role === 'queryGroups' &&
    !dimensions.some((each) => each.layer === layer && each.role === 'keyValueHeads'))

/** Several where layers share their heads or widths; the one that it is named by first. */
const layersOf = (
  dimension: ModelDimension,
  { attention, feedForward }: TransformerModel,
): Set<number | null> =>
  new Set([
    dimension.layer ?? null,
    ...[...attention, ...feedForward].flatMap((block) =>
      block.dimension === dimension ? [block.layer] : [],
    ),
  ])

function queriesOf(dimension: ModelDimension, { attention }: TransformerModel): number {
  const block = attention.find((each) => each.dimension === dimension)
  return block && dimension.role === 'keyValueHeads' ? block.heads / block.keyValueHeads : 1
}

/** Members that stay, by dimension, as the original numbers them. */
function keptMembers({ parts }: Plan, view: TransformerModel): Map<string, readonly number[]> {
  const kept = new Map<string, readonly number[]>()
  for (const { slices } of parts) {
    const gone = new Map<string, Set<number>>()
    for (const { dimension, remove } of slices)
      gone.set(dimension, new Set([...(gone.get(dimension) ?? []), ...remove]))
    for (const [id, own] of gone) {
      const size = view.dimensions.find((each) => each.id === id)?.size
      if (size === undefined) throw otherPlan(`the original has no dimension "${id}"`)
      const before = kept.get(id) ?? Array.from({ length: size }, (_, member) => member)
      kept.set(
        id,
        before.filter((_, place) => !own.has(place)),
      )
    }
  }
  return kept
}

/** A masked model has kept all sizes; any other has what the plan leaves. */
function checkSizes(
  kept: ReadonlyMap<string, readonly number[]>,
  { before, after }: Change<TransformerModel>,
): void {
  const sizeIn = (view: TransformerModel, id: string): number | undefined =>
    view.dimensions.find((each) => each.id === id)?.size
  if ([...kept.keys()].every((id) => sizeIn(after, id) === sizeIn(before, id))) return
  for (const [id, members] of kept) {
    const size = sizeIn(after, id)
    // A dimension of one member is no dimension any more.
    if (size !== undefined && size !== members.length)
      throw otherPlan(
        `it leaves ${members.length} members of "${id}", and the pruned model has ${size}`,
      )
  }
}

const otherPlan = (text: string): AttncError =>
  new AttncError(
    'REPORT_OTHER_PLAN',
    'usage',
    `The plan does not belong to these models: ${text}.`,
    {
      suggestions: ['Name the model that the plan was made for, or the right plan with --plan.'],
    },
  )

const rankings = ({ parts }: Plan): Map<string, Sensitivity> =>
  new Map(
    parts
      .toReversed()
      .flatMap(({ findings }) => findings?.sensitivity ?? [])
      .map((each) => [each.dimension, each]),
  )

function stripOf(
  dimension: ModelDimension,
  kept: readonly number[] | undefined,
  ranked: Sensitivity | undefined,
): Omit<Strip, 'queriesPerMember'> {
  const stays = new Set(kept)
  const removed = kept
    ? Array.from({ length: dimension.size }, (_, member) => member).filter((m) => !stays.has(m))
    : []
  const units = ranked?.units ?? dimension.size
  return {
    part: partOf(dimension.id),
    size: dimension.size,
    removed,
    costs: ranked ? costsOf(ranked) : null,
    membersPerUnit: Math.max(1, Math.ceil(dimension.size / Math.max(1, units))),
  }
}

/** Steps of the curve, unit by unit; null where only an order, or too little of it, is known. */
function costsOf({ units, order, errors, gone }: Sensitivity): Strip['costs'] {
  if (!order || !errors || errors.length < order.length || gone?.length !== errors.length)
    return null
  const costs: (number | null)[] = Array.from({ length: units }, () => null)
  for (const [place, unit] of order.entries())
    if (unit >= 0 && unit < units)
      costs[unit] = Math.max(0, (errors[place] ?? 0) - (errors[place - 1] ?? 0))
  return costs
}

/** `layer.3.cross.keyValueHeads` → `cross.keyValueHeads` */
export const partOf = (dimension: string): string => dimension.replace(/^layer\.\d+\./, '')

function patternsOf(
  parts: readonly PlanPart[],
  view: TransformerModel,
): Map<number, (readonly string[])[]> {
  const found = new Map<number, (readonly string[])[]>()
  for (const { block, patterns } of parts.flatMap(({ attention = [] }) => attention)) {
    const layer = view.attention[Number(block.replace(/^attention\./, ''))]?.layer
    if (layer !== undefined) found.set(layer, [...(found.get(layer) ?? []), patterns])
  }
  return found
}

function cacheOf(
  dimensions: readonly ModelDimension[],
  { cacheCosts, views }: LayerInput,
): Change<number> | null {
  const heads = dimensions.filter(
    ({ role, id }) => role === 'keyValueHeads' && cacheCosts.before.has(id),
  )
  if (heads.length === 0) return null
  const sum = (view: TransformerModel, costs: ReadonlyMap<string, number>): number =>
    heads.reduce((total, { id }) => {
      const size = view.dimensions.find((each) => each.id === id)?.size ?? 1
      return total + size * (costs.get(id) ?? cacheCosts.before.get(id) ?? 0)
    }, 0)
  return { before: sum(views.before, cacheCosts.before), after: sum(views.after, cacheCosts.after) }
}

/** What groups and values share with heads is counted with the heads. */
function parametersOf(
  dimensions: readonly ModelDimension[],
  { before, after }: Change<TransformerModel>,
): Change<number> {
  const own = dimensions.filter((each) => isCounted(each, before))
  return {
    before: own.reduce((sum, { size, parametersPerMember }) => sum + size * parametersPerMember, 0),
    after: own.reduce((sum, { id, parametersPerMember }) => {
      const now = after.dimensions.find((each) => each.id === id)
      return sum + (now ? now.size * now.parametersPerMember : parametersPerMember)
    }, 0),
  }
}
