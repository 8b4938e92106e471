/** `attnc train` behind its flags: everything is read and refused before the long work begins. */
import { join } from 'node:path'
import { AttncError } from '../errors.js'
import { checkRoom } from '../model-folder/check-room.js'
import { loadModel } from '../model-folder/load.js'
import { checkOutput } from '../model-folder/output-folder.js'
import { parseBytes, parseNumber, parseShare } from '../plan/numbers.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { type Adapter, adapterFiles } from '../train/adapter/adapter-file.js'
import { adamW, type Schedule, sgd } from '../train/optimizer.js'
import { type TrainFolderResult, trainFolder } from '../train/train-folder.js'
import type { Precision } from '../train/training-graph.js'
import type { Method } from '../train/weights/trainable.js'
import type { WeightRole } from '../train/weights/weight-role.js'
import { checkWritable, writeWhole } from '../write-whole.js'
import { chooseData, countSamples, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'

export interface TrainFlags extends DataChoice {
  readonly output: string
  readonly force: boolean
  readonly data: string
  readonly 'held-out'?: string | undefined
  readonly teacher?: string | undefined
  readonly 'teacher-share': string
  readonly temperature: string
  readonly 'hidden-share'?: string | undefined
  readonly 'memory-limit'?: string | undefined
  readonly 'training-precision'?: Precision | undefined
  readonly distance: 'mse' | 'cosine'
  readonly method: 'lora' | 'full'
  readonly roles?: readonly WeightRole[] | undefined
  readonly rank: number
  readonly alpha?: number | undefined
  readonly updates: number
  readonly accumulate: number
  readonly rate?: string | undefined
  readonly schedule: Schedule
  readonly warmup: number
  readonly optimizer: 'adamw' | 'sgd'
  readonly decay: string
  readonly clip: string
  readonly patience: number
  readonly checkpoint?: string | undefined
  readonly 'adapter-out'?: string | undefined
  readonly provider: 'auto' | ProviderName
  readonly seed: number
}

export type TrainJson = Omit<TrainFolderResult, 'weights' | 'adapter'>

/** Peak rates that are safe where the user names none: low-rank updates begin at zero. */
const rates = { lora: 2e-3, full: 5e-4 } as const

/** Training keeps every weight, and configs and the tokenizer come on top. */
const ALL = 1

export async function runTrain(
  path: string,
  flags: TrainFlags,
  context: CommandContext,
): Promise<{ readonly json: TrainJson; readonly lines: readonly string[] }> {
  const { method, optimizer, teacher } = flags
  const number = (name: 'temperature' | 'decay' | 'clip'): number => parseNumber(name, flags[name])
  const decay = number('decay')
  const share = parseShare('teacher-share', flags['teacher-share'])
  const hiddenShare = parseShare('hidden-share', flags['hidden-share'] ?? '0')
  if (flags['adapter-out'] !== undefined && method !== 'lora')
    throw new AttncError('NO_ADAPTER', 'usage', `--method ${method} makes no adapter.`, {
      suggestions: ['Leave --adapter-out away, or train with --method lora.'],
    })
  const limit = flags['memory-limit']
  const memoryLimit = limit === undefined ? undefined : parseBytes('memory-limit', limit)
  const source = loadModel(path)
  const { data, 'held-out': judged, checkpoint } = flags
  checkOutput(flags.output, {
    force: flags.force,
    from: source.folder,
    data: [data, judged, checkpoint],
  })
  checkRoom(flags.output, source, context.log, ALL)
  if (flags.checkpoint !== undefined) checkWritable(flags.checkpoint)
  if (flags['adapter-out'] !== undefined)
    checkWritable(join(flags['adapter-out'], 'adapter_config.json'))
  const batches = await chooseData(source, flags.data, flags, context)
  const whole = { ...flags, samples: undefined, tokens: undefined }
  const heldOut = flags['held-out']
    ? await chooseData(source, flags['held-out'], whole, context)
    : undefined
  const provider = await chooseProvider(flags.provider)
  const result = await trainFolder({
    ...context,
    provider: provider.name,
    source,
    output: flags.output,
    force: flags.force,
    single: isSingle(path),
    batches,
    heldOut,
    method: methodOf(flags),
    updates: flags.updates,
    batchSize: flags['batch-size'] ?? firstSize(batches),
    accumulate: flags.accumulate,
    rate: flags.rate === undefined ? rates[method] : parseNumber('rate', flags.rate),
    schedule: flags.schedule,
    warmup: flags.warmup,
    optimizer: optimizer === 'sgd' ? sgd({ decay }) : adamW({ decay }),
    clip: number('clip'),
    patience: flags.patience,
    seed: flags.seed,
    checkpoint: flags.checkpoint,
    memoryLimit,
    precision: flags['training-precision'],
    teacher: teacher
      ? {
          model: loadModel(teacher).model,
          share,
          temperature: number('temperature'),
          distance: flags.distance,
          hiddenShare,
        }
      : undefined,
  })
  if (flags['adapter-out'] && result.adapter)
    writeAdapter(flags['adapter-out'], result.adapter, flags)
  const { weights: _, adapter: __, ...json } = result
  return { json, lines: describe(result, countSamples(batches)) }
}

function writeAdapter(folder: string, adapter: Adapter, { rank, alpha }: TrainFlags): void {
  const base = 'the model that was trained'
  for (const [name, content] of Object.entries(
    adapterFiles(adapter, { rank, alpha: alpha ?? 2 * rank, base }),
  ))
    writeWhole(join(folder, name), content)
}

const firstSize = (batches: Parameters<typeof countSamples>[0]): number =>
  countSamples(batches.slice(0, 1))

const methodOf = ({ method, rank, alpha, roles: targets }: TrainFlags): Method =>
  method === 'lora'
    ? { kind: method, rank, alpha: alpha ?? 2 * rank, targets }
    : { kind: method, targets }

function describe(result: TrainFolderResult, samples: number): string[] {
  const { before, best, trained, updates, curve, written } = result
  return [
    `${updates} updates of ${trained.toLocaleString('en')} numbers on ${samples} samples.`,
    `Held-out loss ${before.toFixed(4)} before, ${best.toFixed(4)} at its best (perplexity ${Math.exp(before).toFixed(3)}, ${Math.exp(best).toFixed(3)}).`,
    ...(best < before
      ? []
      : ['Training made nothing better: the weights are the old ones. Try another --rate.']),
    ...curve.map(
      ({ update, training, heldOut }) =>
        `  update ${String(update).padStart(5)}  loss ${training.toFixed(4)}  held out ${heldOut.toFixed(4)}`,
    ),
    `Written to ${written.folder}.`,
  ]
}
