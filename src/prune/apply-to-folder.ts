/**
 * A plan carried out on a model, or on all models of its folder, checked, and written as a folder that
 * the same host loads.
 */
import { statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { type SavedFolder, saveModelFolder } from '../model-folder/save.js'
import { applyPart } from '../plan/apply.js'
import type { AttentionPatterns, Plan } from '../plan/plan.js'
import { planNote } from '../plan/plan-file.js'
import { planSummary } from '../plan/plan-json.js'
import type { RunOptions } from '../runtime/batches.js'
import { breathe } from '../runtime/breathe.js'
import { version } from '../version.js'
import { idInputs } from '../vocabulary/find-vocabulary.js'
import { cutTokenizerFile, isOlderForm, renumberedConfig } from '../vocabulary/vocabulary-files.js'
import type { NumericCheck } from './check.js'
import { editConfig, modelSizes } from './config-edit.js'
import { largerOf, provePart } from './prove-part.js'
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

/** Which plan is carried out on which folder. */
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
  /** Digest of the source, where it is known. */
  readonly digest?: string | undefined
  /** Only this file, though its folder has more. */
  readonly single: boolean
}

/** A folder before and after, and the proof. */
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

/** A folder whose main model is cut and proved, and that can be written. */
export interface CutFolder extends Omit<FolderResult, 'written'> {
  /** Errors: those of writing; nothing is left behind. */
  save(output: string, force?: boolean): Promise<SavedFolder>
}

/** Errors: those of plans, of the check and of writing; nothing is left behind. */
export async function applyToFolder(options: FolderOptions): Promise<FolderResult> {
  const { output, force } = options
  const { save, ...found } = await cutFolder(options)
  return { ...found, written: output === undefined ? undefined : await save(output, force) }
}

/** Errors: those of plans and of the check. */
export async function cutFolder(
  options: Omit<FolderOptions, 'output' | 'force'>,
): Promise<CutFolder> {
  const { source, plan, as = 'slice' } = options
  if (as === 'mask' && plan.parts.length > 1) throw maskError(plan)
  let view = readModel(source.model.graph)
  const ids = idInputs(view)
  const before = totalsOf(source.model, view)
  const sizesBefore = modelSizes(view)
  const otherwise = otherwiseCounted(source.location.folder, sizesBefore)
  let sizesAfter = sizesBefore
  const rows: ReportRow[] = []
  let check = options.check
  for (const [index, part] of plan.parts.entries()) {
    rows.push(...reportRows(view, part))
    await breathe(options.signal)
    applyPart(source.model.graph, part, { as, view })
    view = readModel(source.model.graph)
    // What cuts nothing leaves sizes as they are; heads with patterns of their own are put together anew.
    if (part.slices.length > 0) sizesAfter = modelSizes(view)
    else if (part.vocabulary) sizesAfter = { ...sizesAfter, vocabulary: view.vocabulary }
    if (!options.check && as === 'slice')
      check = largerOf(check, await provePart({ ...options, ids }, index, part))
  }
  return {
    before,
    after: totalsOf(source.model, view),
    rows,
    attention: plan.parts.flatMap((part) => part.attention ?? []),
    bits: keptBits(plan.parts),
    check,
    save: (output, force) => {
      const sizes = { otherwise, before: sizesBefore, after: sizesAfter }
      return saveFolder({ ...options, output, force }, sizes)
    },
  }
}

interface Sizes {
  /** What configs state otherwise than the graph did. */
  readonly otherwise: ReturnType<typeof otherwiseCounted>
  readonly before: ReturnType<typeof modelSizes>
  readonly after: ReturnType<typeof modelSizes>
}

/** Writes the model that was cut and, unless it is alone, the others of its folder. */
async function saveFolder(
  options: FolderOptions & { readonly output: string },
  { otherwise, before, after }: Sizes,
): Promise<SavedFolder> {
  const { source, plan, output, force, as = 'slice', log, signal } = options
  const { location } = source
  const digest = options.digest ?? (await loadFrom(location, source.file).digest(signal))
  const rest = options.single ? undefined : await companionsOf(options)
  const cut = { [source.file]: source.model, ...rest?.cut }
  for (const model of Object.values(cut)) {
    if (otherwise.length > 0) model.metadata.set(OTHERWISE, JSON.stringify(otherwise))
    model.metadata.set('attnc.version', version)
    model.metadata.set('attnc.input', digest)
    model.metadata.set('attnc.plan', JSON.stringify(planSummary(plan)))
  }
  const vocabulary = plan.parts.find((part) => part.vocabulary)?.vocabulary
  return await saveModelFolder({
    models: { ...cut, ...rest?.carried },
    from: location,
    to: output,
    force,
    configEdit: (name, config) => {
      const sized = as === 'slice' ? editConfig(name, config, before, after) : config
      return vocabulary ? renumberedConfig(sized, vocabulary) : sized
    },
    files: { ...planNote(plan), ...(vocabulary && cutTokenizerFile(location, vocabulary)) },
    ...(vocabulary && { omit: isOlderForm }),
    signal,
    onProgress: (done, total) => log.progress('writing', done, total),
  })
}

/**
 * The other models of the folder: those that the plan is for too, cut; those with weights of their own,
 * an encoder or another tower, as they are.
 */
async function companionsOf({
  source: { location, file: main },
  plan,
  as = 'slice',
  log,
  signal,
}: FolderOptions): Promise<{
  readonly cut: Readonly<Record<string, Model>>
  readonly carried: Readonly<Record<string, Model>>
}> {
  const cut: Record<string, Model> = {}
  const carried: Record<string, Model> = {}
  const [first] = plan.parts
  const files = location.models.filter((file) => file !== main)
  const dense = files.length > 0 ? readModel(loadFrom(location, main).model.graph) : undefined
  for (const file of files) {
    await breathe(signal)
    try {
      const { model } = loadFrom(location, file)
      if (dense && first && !hasSameWeights(dense, readModel(model.graph), first)) {
        log.warn(
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
      log.warn('MODEL_LEFT_OUT', `"${file}" is not in the output: ${error.message}`)
    }
  }
  return { cut, carried }
}

const maskError = ({ parts }: Plan): AttncError =>
  new AttncError(
    'MASK_PARTS',
    'usage',
    `The plan has ${parts.length} parts, and later ones count in what earlier ones left; only a plan of one part can be masked.`,
    { suggestions: ['Leave --as mask away, or keep one part of the plan.'] },
  )
