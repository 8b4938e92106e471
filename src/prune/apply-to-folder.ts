/**
 * A plan carried out on a model, or on all models of its folder, checked, and written as a folder that
 * the same host loads.
 */
import { statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Batch } from '../data/batch.js'
import { portsOf } from '../data/open-data.js'
import { randomBatches } from '../data/random.js'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { type SavedFolder, saveModelFolder } from '../model-folder/save.js'
import { applyPart } from '../plan/apply.js'
import type { AttentionPatterns, Plan, PlanPart } from '../plan/plan.js'
import { planNote } from '../plan/plan-file.js'
import { planSummary } from '../plan/plan-json.js'
import type { RunOptions } from '../runtime/batches.js'
import { version } from '../version.js'
import { renumberAfter } from '../vocabulary/batches.js'
import { idInputs } from '../vocabulary/find-vocabulary.js'
import { cutTokenizerFile, isOlderForm, renumberedConfig } from '../vocabulary/vocabulary-files.js'
import { checkSlice, halfBound, type NumericCheck } from './check.js'
import { editConfig, modelSizes } from './config-edit.js'
import {
  type KeptBits,
  keptBits,
  type ReportRow,
  reportRows,
  type Totals,
  totalsOf,
} from './report.js'
import { hasSameWeights } from './same-weights.js'
import { OTHERWISE, otherwiseCounted } from './stated-sizes.js'

export interface FolderOptions extends RunOptions {
  readonly source: LoadedModel
  readonly plan: Plan
  /** undefined: nothing is written. */
  readonly output: string | undefined
  readonly force?: boolean | undefined
  readonly as?: 'slice' | 'mask' | undefined
  /** Inputs for the numeric check; random ones are made where there are none. */
  readonly batches?: readonly Batch[] | undefined
  /** The proof, where it was made before; numbers are not compared again then. */
  readonly check?: NumericCheck | undefined
  /** Only this file, though its folder has more. */
  readonly single: boolean
}

export interface FolderResult {
  readonly before: Totals
  readonly after: Totals
  readonly rows: readonly ReportRow[]
  /** Blocks that follow a pattern now. */
  readonly attention: readonly AttentionPatterns[]
  /** How many weights are kept in how few bits. */
  readonly bits: readonly KeptBits[]
  readonly check: NumericCheck | undefined
  readonly written: SavedFolder | undefined
}

/** Whether a path names one model file and not its folder. */
export const isSingle = (path: string): boolean =>
  statSync(resolve(path), { throwIfNoEntry: false })?.isFile() ?? false

/** Errors: those of plans, of the check and of writing; nothing is left behind. */
export async function applyToFolder(options: FolderOptions): Promise<FolderResult> {
  const { source, plan, as = 'slice', log } = options
  const { location } = source
  if (as === 'mask' && plan.parts.length > 1) throw maskError(plan)
  let view = readModel(source.model.graph)
  const ids = idInputs(view)
  const before = totalsOf(source.model, view)
  const sizesBefore = modelSizes(view)
  const rows: ReportRow[] = []
  let check = options.check
  for (const [index, part] of plan.parts.entries()) {
    rows.push(...reportRows(view, part))
    applyPart(source.model.graph, part, { as, view })
    view = readModel(source.model.graph)
    if (!options.check && as === 'slice')
      check = largerOf(check, await provePart({ ...options, ids }, index, part))
  }
  const after = totalsOf(source.model, view)
  const digest = await loadFrom(location, source.file).digest(options.signal)
  const rest = options.single ? undefined : companionsOf(options)
  const cut = { [source.file]: source.model, ...rest?.cut }
  const models = { ...cut, ...rest?.carried }
  const otherwise = otherwiseCounted(location.folder, sizesBefore)
  for (const model of Object.values(cut)) {
    if (otherwise.length > 0) model.metadata.set(OTHERWISE, JSON.stringify(otherwise))
    model.metadata.set('attnc.version', version)
    model.metadata.set('attnc.input', digest)
    model.metadata.set('attnc.plan', JSON.stringify(planSummary(plan)))
  }
  const sizesAfter = modelSizes(view)
  const vocabulary = plan.parts.find((part) => part.vocabulary)?.vocabulary
  const written =
    options.output === undefined
      ? undefined
      : await saveModelFolder({
          models,
          from: location,
          to: options.output,
          force: options.force,
          configEdit: (name, config) => {
            const sized =
              as === 'slice' ? editConfig(name, config, sizesBefore, sizesAfter) : config
            return vocabulary ? renumberedConfig(sized, vocabulary) : sized
          },
          files: { ...planNote(plan), ...(vocabulary && cutTokenizerFile(location, vocabulary)) },
          ...(vocabulary && { omit: isOlderForm }),
          signal: options.signal,
          onProgress: (done, total) => log.progress('writing', done, total),
        })
  const attention = plan.parts.flatMap((part) => part.attention ?? [])
  const bits = keptBits(plan.parts)
  return { before, after, rows, attention, bits, check, written }
}

/**
 * The other models of the folder: those that the plan is for too, cut; those with weights of their own,
 * an encoder or another tower, as they are.
 */
function companionsOf({
  source: { location, file: main },
  plan,
  output,
  as = 'slice',
  log,
}: FolderOptions): {
  readonly cut: Readonly<Record<string, Model>>
  readonly carried: Readonly<Record<string, Model>>
} {
  // Said once, when the folder is written.
  const warn: typeof log.warn = (code, text) => {
    if (output !== undefined) log.warn(code, text)
  }
  const cut: Record<string, Model> = {}
  const carried: Record<string, Model> = {}
  const [first] = plan.parts
  const files = location.models.filter((file) => file !== main)
  const dense = files.length > 0 ? readModel(loadFrom(location, main).model.graph) : undefined
  for (const file of files) {
    try {
      const { model } = loadFrom(location, file)
      if (dense && first && !hasSameWeights(dense, readModel(model.graph), first)) {
        warn(
          'MODEL_AS_IT_WAS',
          `"${file}" has weights of its own, which this plan is not for, and stays as it was; prune it with "attnc prune ${join(location.folder, file)}".`,
        )
        carried[file] = model
        continue
      }
      for (const part of plan.parts) applyPart(model.graph, part, { as })
      cut[file] = model
    } catch (error) {
      if (!(error instanceof AttncError)) throw error
      warn('MODEL_LEFT_OUT', `"${file}" is not in the output: ${error.message}`)
    }
  }
  return { cut, carried }
}

/** The model as it is after a part, against a fresh copy with the part masked. */
async function provePart(
  options: FolderOptions & { readonly ids: readonly string[] },
  index: number,
  part: PlanPart,
): Promise<NumericCheck> {
  const { source, plan } = options
  const masked = loadFrom(source.location, source.file).model
  for (const before of plan.parts.slice(0, index)) applyPart(masked.graph, before)
  const view = readModel(masked.graph)
  const cut = plan.parts.slice(0, index + 1)
  const given = renumberAfter(cut, options.batches?.slice(0, 1) ?? [], options.ids).filter(
    (batch) => fitsInto(source.model, batch),
  )
  const tokens = part.vocabulary?.keep.length ?? view.vocabulary
  applyPart(masked.graph, part, { as: 'mask', view })
  const proved = exactModel(options, index, part)
  const check = (batches: readonly Batch[]) =>
    checkSlice(proved, masked, batches, {
      ...options,
      bound: part.precision && halfBound,
      // Fused, integer products differ in rounding, and a code that flips is a whole step in all that follows.
      ...(part.integers && { optimization: 'disabled' }),
    })
  if (given.length > 0) return check(given)
  const [wanted, instead] = part.attention ? [PATTERN_LENGTH, SHORT] : [SHORT, LONG]
  return check(checkInputs(masked, tokens, wanted)).catch((error) => {
    if (error instanceof AttncError && error.kind === 'numeric') throw error
    options.signal?.throwIfAborted()
    return check(checkInputs(masked, tokens, instead)).catch((again) => {
      throw again instanceof AttncError && again.code === 'RUN_FAILED' ? notByChance(again) : again
    })
  })
}

/**
 * Kernels that round their inputs while they run differ from everything by some hundredths: what is proved
 * is the same model without that, so that a wrong code or scale shows.
 */
function exactModel({ source, plan }: FolderOptions, index: number, part: PlanPart): Model {
  if (!part.quantized?.some(({ accuracy }) => accuracy > 0)) return source.model
  const { model } = loadFrom(source.location, source.file)
  for (const before of plan.parts.slice(0, index)) applyPart(model.graph, before)
  const quantized = part.quantized.map((each) => ({ ...each, accuracy: 0 }))
  applyPart(model.graph, { ...part, quantized })
  return model
}

/**
 * Tokens at which is proved without data. Patterns show over several blocks of keys and one that is not
 * full, which the model's positions may not reach; samples of sound have to outlast convolutions.
 */
const [PATTERN_LENGTH, SHORT, LONG] = [330, 16, 1024]

const largerOf = (one: NumericCheck | undefined, other: NumericCheck): NumericCheck =>
  one && one.largest > other.largest ? one : other

const notByChance = (cause: AttncError): AttncError =>
  new AttncError(
    'RANDOM_INPUTS',
    'usage',
    `The proof needs inputs, and this model does not run on such as are drawn by chance. ${cause.message}`,
    {
      suggestions: [
        'Give inputs that it runs on with --data, for instance arrays in an .npz file.',
      ],
      cause,
    },
  )

const maskError = ({ parts }: Plan): AttncError =>
  new AttncError(
    'MASK_PARTS',
    'usage',
    `The plan has ${parts.length} parts, and later ones count in what earlier ones left; only a plan of one part can be masked.`,
    { suggestions: ['Leave --as mask away, or keep one part of the plan.'] },
  )

/** Whether the pruned model takes it too: a filled cache of the dense one has members that went. */
const fitsInto = (model: LoadedModel['model'], { feeds }: Batch): boolean =>
  portsOf(model).every(({ name, dims }) => {
    const fed = feeds[name]
    if (!fed || fed.data.length === 0) return true
    return dims.every((dim, axis) => typeof dim !== 'number' || dim === fed.dims[axis])
  })

function checkInputs(
  model: LoadedModel['model'],
  vocabulary: number | undefined,
  sequenceLength: number,
): Batch[] {
  return randomBatches({
    inputs: portsOf(model),
    sequenceLength,
    batchSize: 2,
    samples: 2,
    vocabulary,
    seed: 0,
  })
}
