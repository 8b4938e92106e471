/**
 * Whether a model folder keeps its promises: every model reads, is lawful, runs without NaN; configs,
 * tokenizer and caches agree with the graphs; what its plan says went is gone; a language model says the
 * same with its cache and without. Beside the original, the plan is carried out again and compared.
 */

import { checkModel } from '../graph/check.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { type ModelFolder, openModelFolder } from '../model-folder/model-folder.js'
import type { RunOptions } from '../runtime/batches.js'
import { checkConfigs } from './check-configs.js'
import { checkGeneration } from './check-generation.js'
import { checkPlan } from './check-plan.js'
import { checkReplay } from './check-replay.js'
import { checkRuns } from './check-runs.js'
import { checkTokenizer } from './check-tokenizer.js'
import { Checklist, Objection } from './report.js'
import type { Subject } from './subject.js'

/** Which folder is held against what. */
export interface VerifyOptions extends RunOptions {
  /** Folder or .onnx file; of a folder every model is verified. */
  readonly path: string
  /** The model that `path` was made from. */
  readonly against?: string | undefined
  /** Only the file that `path` names. */
  readonly single?: boolean | undefined
  readonly seed?: number | undefined
}

/** Notes what is wrong instead of throwing it; `assertPassed` of the result throws. Errors: of unreadable folders. */
export async function verify(options: VerifyOptions): Promise<Checklist> {
  const { signal, log, single = false } = options
  const location = openModelFolder(options.path)
  const original = options.against === undefined ? undefined : openModelFolder(options.against)
  const list = new Checklist(location.folder, signal)
  const files = single ? [location.file] : location.models
  for (const [index, file] of files.entries()) {
    log.progress('verifying', index, files.length)
    await verifyFile(list, location, file, original, options)
  }
  log.progress('verifying', files.length, files.length)
  return list
}

async function verifyFile(
  list: Checklist,
  location: ModelFolder,
  file: string,
  original: ModelFolder | undefined,
  options: VerifyOptions,
): Promise<void> {
  const subject = await readSubject(list, location, file)
  if (!subject) return
  const { source } = subject
  await list.run(file, 'lawful', () => {
    const { violations } = checkModel(source.model)
    const [first] = violations
    if (first) throw new Objection('model', `"${first.at}" ${first.text}.`)
    return 'the graph keeps the law of ONNX'
  })
  const openOriginal = original && (() => loadFrom(original, nameIn(original, file)))
  const runs = await list.run(file, 'runs', () =>
    checkRuns(subject, options, openOriginal && (() => subjectOf(openOriginal()))),
  )
  await list.run(file, 'configs', () => checkConfigs(subject))
  await list.run(file, 'tokenizer', () => checkTokenizer(subject))
  await list.run(file, 'plan', () => checkPlan(subject, original !== undefined))
  if (openOriginal)
    await list.run(file, 'replay', () => checkReplay(subject, openOriginal(), options))
  if (runs) await list.run(file, 'generates', () => checkGeneration(subject, options))
}

const subjectOf = (source: LoadedModel): Subject => ({
  source,
  view: readModel(source.model.graph),
})

/** The model of the same name, or the only one there is. */
const nameIn = ({ models, file: chosen }: ModelFolder, file: string): string =>
  models.includes(file) ? file : chosen

async function readSubject(
  list: Checklist,
  location: ModelFolder,
  file: string,
): Promise<Subject | undefined> {
  const found: Subject[] = []
  await list.run(file, 'reads', () => {
    const source = loadFrom(location, file)
    found.push({ source, view: readModel(source.model.graph) })
    return `${source.model.graph.nodesById.size} nodes`
  })
  return found[0]
}
