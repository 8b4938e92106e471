/** `attnc calibrate` and `attnc calibrate merge` behind their flags. */
import { existsSync } from 'node:fs'
import type { Shard } from '../calibrate/calibrate.js'
import { calibrateToFile } from '../calibrate/calibrate-to-file.js'
import { readCalibration, writeCalibration } from '../calibrate/calibration-file.js'
import { type CalibrationState, isComplete, mergeStates } from '../calibrate/state.js'
import { AttncError } from '../errors.js'
import { loadModel } from '../model-folder/load.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { checkWritable, isWrittenInto } from '../write-whole.js'
import { chooseCalibration, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'

export interface CalibrateFlags extends DataChoice {
  readonly output: string
  readonly force: boolean
  readonly data: string
  readonly shard?: string | undefined
  readonly stride?: number | undefined
  readonly provider: 'auto' | ProviderName
}

interface Outcome {
  readonly json: CalibrateJson
  readonly lines: readonly string[]
}

export type CalibrateJson = ReturnType<typeof toJson>

export async function runCalibrate(
  path: string,
  flags: CalibrateFlags,
  context: CommandContext,
): Promise<Outcome> {
  const shard = flags.shard === undefined ? undefined : parseShard(flags.shard)
  checkWritable(flags.output)
  const source = loadModel(path)
  const batches = await chooseCalibration(source, flags.data, flags, context)
  const { name: provider } = await chooseProvider(flags.provider)
  const digest = await source.digest(context.signal)
  const { output, force, stride } = flags
  const state = await calibrateToFile(source.model, {
    ...context,
    batches,
    provider,
    digest,
    moments: true,
    output,
    force,
    stride,
    shard,
  })
  return describe(output, state)
}

export async function runMerge(
  paths: readonly string[],
  flags: { readonly output: string; readonly force: boolean },
): Promise<Outcome> {
  const [first, ...rest] = paths
  if (first === undefined || rest.length === 0)
    throw new AttncError(
      'PARTS_MISSING',
      'usage',
      `Parts are put together, and ${paths.length === 1 ? 'only one was' : 'none were'} named.`,
      {
        suggestions: ['Name at least two: attnc calibrate merge a.npz b.npz -o all.npz'],
      },
    )
  checkWritable(flags.output)
  if (existsSync(flags.output) && !isWrittenInto(flags.output) && !flags.force)
    throw new AttncError('OUTPUT_EXISTS', 'usage', `"${flags.output}" exists.`, {
      suggestions: ['Name another file, or pass --force to replace it.'],
    })
  const state = readCalibration(first)
  for (const path of rest) mergeStates(state, readCalibration(path), { state: first, other: path })
  await writeCalibration(flags.output, state)
  return describe(flags.output, state)
}

/** Error: SHARD_FORMAT. */
function parseShard(text: string): Shard {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text) ?? []
  const shard = { index: Number(index), count: Number(count) }
  if (shard.index >= 1 && shard.index <= shard.count) return shard
  throw new AttncError('SHARD_FORMAT', 'usage', `"${text}" is no part of a whole.`, {
    suggestions: ['Write --shard 2/8 for the second of eight parts.'],
  })
}

function toJson(output: string, state: CalibrationState) {
  const { key, done, providers, blocks } = state
  const [any] = blocks.values()
  return {
    format: 1 as const,
    output,
    model: key.model,
    batches: { done: done.size, total: key.batches },
    isComplete: isComplete(state),
    blocks: blocks.size,
    prompts: any?.prompts ?? 0,
    tokens: any?.tokens ?? 0,
    providers: [...providers].sort(),
  }
}

function describe(output: string, state: CalibrationState): Outcome {
  const json = toJson(output, state)
  const { done, total } = json.batches
  const rest = json.isComplete ? '' : `; the rest, ${total - done}, is in other parts`
  return {
    json,
    lines: [`${output}: ${json.blocks} blocks, ${done} of ${total} batches${rest}`],
  }
}
