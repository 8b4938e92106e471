/** Two models side by side: what changed in the graph, and what they say of the same inputs. */
import type { Batch } from '../data/batch.js'
import { assertSameTexts } from '../data/same-texts.js'
import { sampleInputs } from '../data/sample-inputs.js'
import { findStates } from '../generate/states.js'
import { readModel } from '../model/model.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { openSession } from '../runtime/session.js'
import { OutputComparison, type OutputDifference } from './outputs.js'
import { checkSameInputs } from './same-inputs.js'
import { compareStructure, type StructuralDifference } from './structure.js'

/** On which inputs two models are compared. */
export interface CompareOptions extends RunOptions {
  /** Inputs of a model; seeded random ones are made where this is absent. */
  readonly inputs?: ((source: LoadedModel) => Promise<readonly Batch[]>) | undefined
  readonly seed?: number | undefined
  /** Off: graphs only, nothing is run. Default on. */
  readonly numbers?: boolean | undefined
}

/** How two models differ, in structure and in numbers: what `attnc compare --json` prints. */
export interface Comparison {
  readonly format: 1
  readonly structure: StructuralDifference
  readonly data: 'random' | 'given'
  /** Outputs that both models have; empty where nothing was run. */
  readonly outputs: readonly OutputDifference[]
}

/** Errors: INPUTS_DIFFER, NOT_A_NUMBER; of data and sessions. */
export async function compare(
  first: LoadedModel,
  second: LoadedModel,
  options: CompareOptions,
): Promise<Comparison> {
  const isRun = options.numbers !== false
  if (isRun) checkSameInputs(first.model, second.model)
  const structure = compareStructure(first.model, second.model)
  const data = options.inputs ? 'given' : 'random'
  const outputs = isRun ? await compareOutputs(first, second, options) : []
  return { format: 1, structure, data, outputs }
}

/** Errors: as `compare`. */
export async function compareOutputs(
  first: LoadedModel,
  second: LoadedModel,
  options: CompareOptions,
): Promise<OutputDifference[]> {
  const { provider = 'cpu', threads, signal, log } = options
  const one = await inputsOf(first, options)
  const its = await inputsOf(second, options)
  const isNumberedAlike = options.inputs === undefined || hasSameIds(one, its)
  if (!isNumberedAlike) assertSameTexts(one, its)
  const other = isNumberedAlike ? sharedInputs(one, its, first) : its
  const comparison = new OutputComparison()
  const settings = { provider, threads, signal, takesTurns: true }
  await using before = await openSession({ ...settings, path: first.path })
  await using after = await openSession({ ...settings, path: second.path })
  for (const [index, batch] of one.entries()) {
    signal?.throwIfAborted()
    const results = await before.run(batch.feeds)
    comparison.add(results, await after.run(other[index]?.feeds ?? batch.feeds), batch)
    log.progress('comparing', index + 1, one.length)
  }
  return comparison.result()
}

async function inputsOf(source: LoadedModel, options: CompareOptions): Promise<readonly Batch[]> {
  if (options.inputs) return options.inputs(source)
  const { vocabulary } = readModel(source.model.graph)
  return [sampleInputs(source.model, { vocabulary, seed: options.seed ?? 0 })]
}

const hasSameIds = (one: readonly Batch[], other: readonly Batch[]): boolean =>
  JSON.stringify(one.map(({ ids }) => ids)) === JSON.stringify(other.map(({ ids }) => ids))

/** What the second model is fed: the same as the first, but for caches, which may be of another size. */
function sharedInputs(
  first: readonly Batch[],
  second: readonly Batch[],
  { model }: LoadedModel,
): Batch[] {
  const states = new Set(findStates(model).map(({ input }) => input.name))
  return second.map((batch, index) => ({
    ...batch,
    feeds: Object.fromEntries(
      Object.entries(batch.feeds).map(([name, own]) => [
        name,
        states.has(name) ? own : (first[index]?.feeds[name] ?? own),
      ]),
    ),
  }))
}
