/** A smaller model trained to be as good as the original: on data held apart it is judged and stopped. */
import type { Batch } from '../../src/data/batch.js'
import { makeLackingText } from '../../src/generate/lacking-text.js'
import { loadFrom } from '../../src/model-folder/load.js'
import { fromConstant, type RuntimeTensor } from '../../src/onnx/numbers.js'
import type { Tensor } from '../../src/onnx/tensor.js'
import { digestOfConstant } from '../../src/plan/constants.js'
import { thinned } from '../../src/plan/findings.js'
import type { PassContext } from '../../src/plan/pass.js'
import type { PlanPart, ReplacedWeight } from '../../src/plan/plan.js'
import { holdOut } from '../../src/train/held-out.js'
import { train } from '../../src/train/train.js'
import type { TrainResult } from '../../src/train/train-options.js'
import type { Method } from '../../src/train/weights/trainable.js'
import { type RecoverOptions, rateOf, teacherShareOf } from './options.js'

/** Tokens, or else rows, of an update: a GPU has little more to do with four times as many. */
const tokensEach = { cpu: 2048, gpu: 8192 }
const rowsEach = 32

/** Errors: those of training. */
export async function recoverModel(
  context: PassContext,
  data: readonly Batch[],
  options: RecoverOptions,
): Promise<PlanPart> {
  const { model, source, view, log } = context
  const { training, heldOut } = holdOut({ batches: data })
  const batchSize = options.batchSize ?? batchSizeOf(data, context.provider)
  const seen = options.updates * batchSize
  const text = await makeLackingText(context, training, { ...options, seen })
  const rate = rateOf(options, view.hidden[0]?.size.value)
  log.info(`Training with the original model as the teacher, at most ${options.updates} updates.`)
  const result = await train(model, {
    ...context,
    batches: [...training, ...text],
    heldOut,
    method: methodOf(options),
    updates: options.updates,
    batchSize,
    rate,
    warmup: Math.min(20, Math.ceil(options.updates / 10)),
    patience: options.patience,
    memoryLimit: options.memoryLimit,
    precision: options.precision,
    seed: options.seed,
    teacher: {
      model: loadFrom(source.location, source.file).model,
      share: teacherShareOf(options),
      temperature: options.temperature,
      hiddenShare: options.hiddenShare,
    },
  })
  const { before, best, updates, trained, curve } = result
  const isBetter = best < before
  if (isBetter)
    log.info(
      `Held-out loss ${before.toFixed(4)} before, ${best.toFixed(4)} after ${updates} updates of ${trained.toLocaleString('en')} numbers.`,
    )
  else
    log.warn(
      'RECOVERY_USELESS',
      `Training made nothing better (held-out loss ${before.toFixed(4)}): the weights stay as they were. Try another --rate, or more --data.`,
    )
  const made = text.reduce((sum, { ids }) => sum + ids.length, 0)
  return {
    pass: 'recover',
    options: {
      ...options,
      batchSize,
      rate,
    },
    findings: {
      training: { made, before, best, updates, trained, curve: thinned(curve) },
    },
    ...(isBetter && { weights: replacedBy(context, result) }),
    slices: [],
  }
}

function batchSizeOf([batch]: readonly Batch[], provider: PassContext['provider']): number {
  const length = batch?.ids[0]?.length
  const tokens = tokensEach[(provider ?? 'cpu') === 'cpu' ? 'cpu' : 'gpu']
  return length ? Math.max(1, Math.round(tokens / length)) : rowsEach
}

export const methodOf = ({ method, rank, alpha, targets }: RecoverOptions): Method =>
  method === 'lora'
    ? { kind: 'lora', rank, alpha: alpha ?? 2 * rank, targets }
    : { kind: 'full', targets }

function replacedBy({ model }: PassContext, { weights }: TrainResult): ReplacedWeight[] {
  return weights.map(({ name, tensor }) => ({
    name,
    digest: digestOfConstant(model.graph.values.get(name)?.constant as Tensor),
    tensor: fromConstant(tensor) as RuntimeTensor,
  }))
}
