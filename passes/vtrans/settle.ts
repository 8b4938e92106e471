/**
 * What is settled after the choice: on the model as it was cut and re-fitted, every unit that stays is
 * multiplied by a mean that is learned on the loss, without noise, and taken into the projections. The
 * re-fit repairs the stream by all numbers of the projections; the means know what the answer needs.
 */
import { extractSubgraph } from '../../src/graph/extract.js'
import { readModel } from '../../src/model/model.js'
import { applyPart } from '../../src/plan/apply.js'
import type { TrainingPoint } from '../../src/plan/findings.js'
import type { PlanPart, RefittedProjection } from '../../src/plan/plan.js'
import { shareOfRate } from '../../src/train/optimizer.js'
import { foldMeans } from './fold.js'
import type { LearnInput } from './learn.js'
import { MaskRun } from './mask-run.js'
import { findMasks } from './masks.js'
import { sharesOf, type VtransOptions } from './options.js'
import { parametersOf } from './resource.js'

type Cut = Pick<PlanPart, 'slices' | 'projections'>

export interface Settled {
  readonly projections: readonly RefittedProjection[]
  readonly curve: readonly TrainingPoint[]
}

/** `model` of the input is whole and teaches; `part` is what it loses. Errors: those of learning. */
export async function settleMeans(
  input: LearnInput,
  part: Cut,
  options: VtransOptions,
): Promise<Settled> {
  const { settlingRate } = options
  const { settling: updates } = sharesOf(options)
  const model = extractSubgraph(input.model.graph, new Map(), [...input.model.graph.outputs])
  applyPart(model.graph, part)
  const view = readModel(model.graph)
  const structures = options.structures.filter((each) => each === 'heads' || each === 'width')
  if (structures.length === 0) return { projections: part.projections ?? [], curve: [] }
  const own = { ...options, structures }
  const set = findMasks(view, own)
  const ones = new Float32Array(set.size).fill(1)
  const resource = parametersOf(view, set.masks)
  const given = { model, teacher: input.model, resource, initial: ones, settled: ones, updates }
  await using run = await MaskRun.open({ ...input, ...given, what: 'learning means' }, own)
  for (let at = 0; at < updates; at++)
    await run.update(settlingRate * shareOfRate('linear', at, updates, 0), {})
  const all = set.masks.map((mask) => ({
    mask,
    kept: Array.from({ length: mask.size }, (_, unit) => unit),
    order: [],
  }))
  const folded = new Map(
    foldMeans(view, { means: run.masks }, all).map((each) => [each.block, each]),
  )
  const before = new Map((part.projections ?? []).map((each) => [each.block, each]))
  const projections = [...new Set([...before.keys(), ...folded.keys()])].map(
    (block) => ({ ...before.get(block), ...folded.get(block) }) as RefittedProjection,
  )
  return { projections, curve: run.curve }
}
