/**
 * Training of a model's weights, or of low-rank updates of them, on data: what is asked for, and the
 * graphs and sessions that it takes. The loop itself is training-run.ts.
 */
import { existsSync, rmSync } from 'node:fs'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { withoutFunctions } from '../gradients/lower/functions.js'
import { estimateMemory } from '../gradients/memory/step-memory.js'
import { hasGradientKernel } from '../gradients/own-gradient.js'
import type { Model } from '../graph/graph.js'
import { openProducts } from '../linear-algebra/products.js'
import { assertFiniteWeights } from '../model/finite-weights.js'
import { readModel } from '../model/model.js'
import { rowsWorthFusing } from '../rewrite/fuse-rows/fuse-rows.js'
import { roomOf } from '../runtime/free-memory.js'
import { materialiseFor } from '../runtime/held-caches.js'
import type { Materialised } from '../runtime/materialise.js'
import { hasTrainingKernels } from '../runtime/own-kernels.js'
import { openSession, type Session, type SessionOptions } from '../runtime/session.js'
import { adapterOf } from './adapter/adapter.js'
import { foldTrainable } from './adapter/fold.js'
import { sizesOfFeeds } from './feeds.js'
import { findOdd } from './find-odd.js'
import { describeFit, type Fitted, fitMemory } from './fit-memory.js'
import { heldOutLoss, holdOut } from './held-out.js'
import { matchLayers } from './loss/layer-match.js'
import { chooseObjective, targetsOf } from './loss/objective.js'
import type { Teacher } from './loss/teacher.js'
import { defaultScaling, type Scaling } from './loss-scale.js'
import { adamW } from './optimizer.js'
import { canMix, sampler } from './sampling.js'
import type { TrainOptions, TrainResult } from './train-options.js'
import {
  buildLossGraph,
  buildTrainingGraph,
  copyOf,
  type LossGraph,
  type Precision,
  type StepOptions,
  type TrainingGraph,
} from './training-graph.js'
import { TrainingRun, vector } from './training-run.js'
import { PARAMETERS } from './weights/insert.js'
import { findTrainable, type Method, type Trainable } from './weights/trainable.js'

/** Errors: WEIGHT_NOT_FINITE, NO_OBJECTIVE, NOTHING_TO_TRAIN, LOSS_NOT_FINITE, RESUME_MISMATCH, those of gradients. */
export async function train(model: Model, options: TrainOptions): Promise<TrainResult> {
  const { provider = 'cpu', checkpoint, log } = options
  const { precision = provider === 'cuda' ? 'auto' : 'float32' } = options
  assertFiniteWeights(readModel(model.graph))
  if (precision !== 'auto') return trainIn(precision, model, options)
  const isGoingOn = checkpoint !== undefined && existsSync(checkpoint)
  try {
    return await trainIn('float16', model, options)
  } catch (error) {
    const code = error instanceof AttncError ? error.code : undefined
    // A run that goes on may be one that had to be in single precision from its start.
    if (code !== (isGoingOn ? 'RESUME_MISMATCH' : 'LOSS_NOT_FINITE')) throw error
    if (!isGoingOn) log.warn('HALF_OVERFLOWS', `In half precision: ${(error as Error).message}`)
    // What this run has kept is of the wrong precision.
    if (!isGoingOn && checkpoint !== undefined) rmSync(checkpoint, { force: true })
    return trainIn('float32', model, options)
  }
}

async function trainIn(
  precision: Precision,
  given: Model,
  options: TrainOptions,
): Promise<TrainResult> {
  const { provider = 'cpu', threads, signal } = options
  const model = withoutFunctions(given)
  const { training, heldOut } = holdOut(options)
  const objective = chooseObjective(model, training, options.teacher !== undefined)
  // What other outputs alone read learns nothing, and would decay.
  const learning = copyOf(model, objective).graph
  const trainable = findTrainable(learning, methodFor(options))
  const teacher = await pairLayers(model, training, options)
  const judge = buildLossGraph(model, { objective, trainable, teacher })
  const scaling = options.scaling ?? scalingOf(trainable, precision)
  const settings = {
    model,
    objective,
    trainable,
    teacher,
    optimizer: options.optimizer ?? adamW(),
    clip: options.clip ?? 1,
    accumulate: options.accumulate ?? 1,
    precision,
    hasKernel: hasTrainingKernels(provider) ? hasGradientKernel : undefined,
    fusesRowsFrom: rowsWorthFusing(provider),
    isScaled: scaling !== undefined,
  }
  const fitted = fitStep(settings, options, judge, training)
  const { step } = fitted
  if (fitted.share > 0) options.log.info(describeFit(fitted))
  const files: Materialised[] = []
  const open = (
    each: Model,
    replays = false,
    optimization?: SessionOptions['optimization'],
  ): Promise<Session> => {
    const file = materialiseFor(each, provider)
    files.push(file)
    const shared = { provider, threads, signal, sparing: true }
    return openSession({ ...shared, path: file.path, replays, optimization })
  }
  try {
    await using session = await open(step.model, provider === 'cuda' && canMix(training))
    await using judging = await open(judge.model)
    const run = new TrainingRun(
      { ...options, precision, batches: training },
      { objective, trainable, scaling, step, session },
      {
        look: (parameters) => {
          const same = { [PARAMETERS]: vector(parameters) }
          return heldOutLoss(judging, judge.loss, { objective, heldOut, same })
        },
        findOdd: (feeds, parameters) =>
          findOdd({
            ...settings,
            feeds,
            parameters,
            open: (each) => open(each, false, 'disabled'),
          }),
      },
    )
    const { before, state, curve } = await run.toEnd()
    if (run.leftOut > 0)
      options.log.info(
        `${run.leftOut} batches were left out, as their gradients overflowed in half precision.`,
      )
    const { parameters } = state.best
    await using products = await openProducts({ threads, signal })
    return {
      weights: await foldTrainable(trainable, parameters, products),
      adapter: options.method.kind === 'lora' ? adapterOf(trainable, parameters) : undefined,
      curve,
      before,
      best: state.best.loss,
      trained: trainable.size,
      updates: state.updates,
    }
  } finally {
    for (const file of files) file.dispose()
  }
}

/** 18 bytes a token and output to pass over at 4 TB/s take as long as products of so many inputs at 500 TFLOP/s. */
const insideUpTo = 1024

const methodFor = ({ method, provider }: TrainOptions): Method =>
  method.kind === 'lora' && provider === 'cuda' ? { insideUpTo, ...method } : method

/** Half precision has no room for small gradients. */
const scalingOf = ({ weights }: Trainable, precision: Precision): Scaling | undefined =>
  precision === 'float16' || weights.some(({ tensor }) => tensor.dataType === 'float16')
    ? defaultScaling
    : undefined

/** The step as a graph that fits into memory. Error: TOO_LITTLE_MEMORY. */
function fitStep(
  settings: StepOptions & { readonly model: Model },
  { provider = 'cpu', batchSize, seed, memoryLimit }: TrainOptions,
  judge: LossGraph,
  batches: readonly Batch[],
): Fitted<TrainingGraph> {
  const { model, objective } = settings
  const batch = largest([sampler(batches, batchSize, seed)(0), ...(canMix(batches) ? [] : batches)])
  const feeds = { ...batch.feeds, ...targetsOf(objective, batch) }
  const judged = judge.model.graph
  return fitMemory({
    build: (recompute) =>
      buildTrainingGraph(model, {
        ...settings,
        recompute,
        feeds: canMix(batches) ? feeds : undefined,
      }),
    feeds,
    beside: estimateMemory(judged, sizesOfFeeds(judged, feeds)).peakBytes,
    room: roomOf(provider, memoryLimit),
    advice: (fitting, samples) => [
      fitting >= 1
        ? `Take fewer samples at once, as --batch-size ${fitting}, and make up for it with --accumulate ${Math.ceil(samples / fitting)}.`
        : 'Take shorter samples (--sequence-length).',
      'Train low-rank updates instead of all weights (--method lora), or fewer roles.',
    ],
  })
}

const largest = (batches: readonly Batch[]): Batch =>
  batches.toSorted((a, b) => elementsOf(b) - elementsOf(a))[0] as Batch

const elementsOf = ({ feeds }: Batch): number =>
  Object.values(feeds).reduce((sum, { data }) => sum + data.length, 0)

async function pairLayers(
  model: Model,
  [batch]: readonly Batch[],
  options: TrainOptions,
): Promise<Teacher | undefined> {
  const { teacher } = options
  const share = teacher?.hiddenShare ?? 0
  if (!teacher || !batch || share === 0) return teacher
  const pairs = await matchLayers(model, teacher.model, batch, options)
  return { ...teacher, hidden: { share, pairs } }
}
