/** Beside the original, the plan is carried out again: sizes, weights and numbers have to be those of the model. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type CompareOptions, compareOutputs } from '../compare/compare.js'
import { type ConstantDifferences, compareConstants } from '../compare/constants.js'
import type { Batch } from '../data/batch.js'
import { findContinuation } from '../data/continued.js'
import { otherInputs, sampleInputs } from '../data/sample-inputs.js'
import { AttncError } from '../errors.js'
import type { Graph, Node } from '../graph/graph.js'
import { reopenBranches } from '../graph/reopen-branches.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { applyPart } from '../plan/apply.js'
import type { Plan, PlanPart } from '../plan/plan.js'
import { readPlanNote } from '../plan/plan-file.js'
import { planSummary } from '../plan/plan-json.js'
import { checkSlice, sliceBound } from '../prune/check.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'
import { removals, statedPlan } from './check-plan.js'
import { weightsOf, withKnownWeights } from './known-weights.js'
import { Objection } from './report.js'
import type { Subject } from './subject.js'

/**
 * Sizes, weights and numbers of the plan carried out again on the original. Where they are others, and the original's
 * digest too, that is said; an original that was only stored anew may have another one.
 */
export async function checkReplay(
  subject: Subject,
  original: LoadedModel,
  options: RunOptions,
): Promise<string> {
  const stated = ['attnc.input', 'attnc.trained'].flatMap(
    (key) => subject.source.model.metadata.get(key) ?? [],
  )
  const [from] = stated
  const own = await digestOf(original, stated, options.signal)
  const isOther = from !== undefined && !stated.includes(own)
  try {
    const found = await replay(subject, original, options)
    return isOther ? `${found}, though the original's digest is another` : found
  } catch (error) {
    const isSaid = error instanceof Objection || error instanceof AttncError
    if (!isOther || !isSaid || options.signal?.aborted) throw error
    throw new Objection(
      'numeric',
      `It was made from another model than "${original.folder}": from one with the digest ${short(from)}, and this has ${short(own)}; --against takes the one that it was made from.`,
    )
  }
}

const short = (digest: string): string => `${digest.slice(0, 12)}…`

/** One that is stated where a model of the folder has it, else that of the first. */
async function digestOf(
  { location }: LoadedModel,
  stated: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const files = [location.file, ...location.models.filter((file) => file !== location.file)]
  let first: string | undefined
  for (const file of files) {
    const digest = await loadFrom(location, file).digest(signal)
    if (stated.includes(digest)) return digest
    first ??= digest
  }
  return first ?? ''
}

async function replay(
  { source, view }: Subject,
  original: LoadedModel,
  options: RunOptions,
): Promise<string> {
  const plan = statedPlan(source)
  const digest = source.model.metadata.get('attnc.input')
  const isTrained = source.model.metadata.has('attnc.trained')
  const isMasked = isStillWhole(plan, view, readModel(original.model.graph))
  const isNoted = existsSync(join(source.folder, 'plan.json'))
  const { plan: stored, isWhole } = isNoted ? readPlanNote(source.folder) : { plan, isWhole: true }
  if (JSON.stringify(planSummary(stored)) !== JSON.stringify(planSummary(plan)))
    throw new Objection(
      'numeric',
      'plan.json beside the model removes something else than the model says.',
    )
  const { graph } = original.model
  const unknown = new Set<string>()
  for (const part of stored.parts)
    applyPart(graph, isWhole ? part : withKnownWeights(graph, part, unknown), {
      as: isMasked ? 'mask' : 'slice',
    })
  if (!isMasked) checkSizes(view, readModel(original.model.graph))
  if (isTrained) return 'sizes are those of the plan; its weights were trained after it'
  const replayed = reopenBranches(original.model)
  const { same, changed } = compareConstants(replayed.graph, source.model.graph)
  const isOther = changed.some(({ change }) => change !== 'added' && change !== 'removed')
  if (!isWhole) return checkKept(same, changed, unknown.size, replayed.graph)
  if (changed.length === 0)
    return `all ${same} constants have the bytes of the plan carried out again`
  const hasPatterns = stored.parts.some(({ attention }) => attention?.length)
  const difference = await replayNumbers(original, source, options, hasPatterns)
  const bound = sliceBound(source.model)
  if (difference > bound)
    throw new Objection(
      'numeric',
      `It differs from the plan carried out again by ${difference.toExponential(1)} of its largest output; ${bound} is allowed.${digest ? '' : ' It does not say what it was made from.'}`,
    )
  return `${isOther ? 'weights differ in rounding, ' : ''}outputs are within ${difference.toExponential(1)} of the plan carried out again`
}

/**
 * Without the plan's numbers: weights may have been re-fitted, as many as the plan says of them kept in fewer bits
 * then, and biases added; no more.
 */
function checkKept(
  same: number,
  changed: ConstantDifferences['changed'],
  unknown: number,
  graph: Graph,
): string {
  const weights = unknown > 0 ? weightsOf(graph) : new Set<string>()
  let left = unknown
  const isRepacked = ({ name, change }: (typeof changed)[number]): boolean =>
    change === 'removed' && weights.has(name) && left-- > 0
  const other = changed.find(
    (each) => each.change !== 'numbers' && each.change !== 'added' && !isRepacked(each),
  )
  if (other)
    throw new Objection(
      'numeric',
      `"${other.name}" is ${other.after ?? 'not there'}; the plan carried out again makes it ${other.before}.`,
    )
  return `${same} constants have the bytes of the plan carried out again, ${changed.length} were re-fitted`
}

/** Whether a part that cuts no dimension was carried out as it is, and not as a mask. */
function hasTraces(
  { vocabulary, quantized, integers, precision }: PlanPart,
  { graph, ...view }: View,
) {
  if (vocabulary) return view.vocabulary !== vocabulary.size
  if (precision)
    return [...graph.values.values()].some(({ constant }) => constant?.dataType === precision)
  if (integers?.length)
    return [...graph.values.values()].some(({ constant }) => constant?.dataType === 'int8')
  const isTrace = ({ op, domain }: Node): boolean =>
    quantized?.length ? op === 'MatMulNBits' || op === 'GatherBlockQuantized' : domain === 'attnc'
  return [...graph.nodes()].some(isTrace)
}

type View = Subject['view']

/** Whether nothing went at all: a masked model. */
function isStillWhole(plan: Plan, after: View, before: View): boolean {
  const isCut = plan.parts.some(({ slices }) => slices.length > 0)
  if (!isCut) return plan.parts.every((part) => !hasTraces(part, after))
  const gone = [...removals(plan).keys()]
  const unknown = gone.find((id) => sizeIn(before, id) === undefined)
  if (unknown !== undefined)
    throw new Objection(
      'numeric',
      `The original has no dimension "${unknown}", which the plan cuts.`,
    )
  // What keeps one member has no name any more, and others may go by it.
  const isNamed = before.dimensions.every(({ id }) => sizeIn(after, id) !== undefined)
  return isNamed && gone.every((id) => sizeIn(after, id) === sizeIn(before, id))
}

/** Every dimension has as many members as the plan leaves. */
function checkSizes(view: View, wanted: View): void {
  for (const { id, size } of wanted.dimensions) {
    const has = sizeIn(view, id)
    if (has !== undefined && has !== size)
      throw new Objection('numeric', `"${id}" has ${size} members by the plan; ${has} are there.`)
  }
}

const sizeIn = (view: View, id: string): number | undefined =>
  view.dimensions.find((each) => each.id === id)?.size

async function replayNumbers(
  replayed: LoadedModel,
  source: LoadedModel,
  options: RunOptions,
  hasPatterns: boolean,
): Promise<number> {
  const file = materialise(replayed.model)
  // As in `checkSlice`: a GPU's rounding is no part of the comparison.
  const exact: RunOptions = { ...options, provider: 'cpu' }
  const compare = async (more: Pick<CompareOptions, 'inputs'> = {}): Promise<number> => {
    const first = { ...replayed, path: file.path }
    const outputs = await compareOutputs(first, source, { ...exact, ...more })
    return Math.max(0, ...outputs.map(({ difference }) => difference?.largestRelative ?? 0))
  }
  try {
    const sampled = await compare().catch((error: unknown) => {
      // Longer than its positions reach, or too short for its convolutions.
      if (!isNotRun(error)) throw error
      return compare({ inputs: otherLength })
    })
    const difference = Math.max(sampled, await compareAfter(replayed, source, exact))
    if (!hasPatterns) return difference
    // Few tokens see each other by any pattern; more may be beyond the model's positions.
    return Math.max(difference, await compare({ inputs: otherLength }).catch(orNotRun))
  } finally {
    file.dispose()
  }
}

/** The branch with a cache, where there is one. */
async function compareAfter(
  { model }: LoadedModel,
  source: LoadedModel,
  options: RunOptions,
): Promise<number> {
  if (!findContinuation(model)) return 0
  const sizes = { vocabulary: readModel(model.graph).vocabulary, seed: 0 }
  const bound = Number.POSITIVE_INFINITY
  const check = (batch: Batch) => checkSlice(source.model, model, [batch], { ...options, bound })
  const { largest } = await check(sampleInputs(model, sizes)).catch((error: unknown) => {
    if (!isNotRun(error)) throw error
    return check(otherInputs(model, sizes))
  })
  return largest
}

const otherLength = async ({ model }: LoadedModel): Promise<Batch[]> => [
  otherInputs(model, { vocabulary: readModel(model.graph).vocabulary, seed: 0 }),
]

const isNotRun = (error: unknown): boolean =>
  error instanceof AttncError && (error.code === 'RUN_FAILED' || error.code === 'BRANCH_NOT_RUN')

const orNotRun = (error: unknown): number => {
  if (isNotRun(error)) return 0
  throw error
}
