/** `attnc apply` behind its flags. */
import { loadModel } from '../model-folder/load.js'
import { checkOutput } from '../model-folder/output-folder.js'
import { readPlan } from '../plan/plan-file.js'
import { planJson } from '../plan/plan-json.js'
import { applyToFolder, isSingle } from '../prune/apply-to-folder.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { chooseCalibration, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'
import { describeResult } from './describe-prune.js'
import { type FolderJson, folderJson } from './prune-json.js'

export interface ApplyFlags extends DataChoice {
  readonly plan: string
  readonly output: string
  readonly force: boolean
  readonly as: 'slice' | 'mask'
  readonly data?: string | undefined
  readonly provider: 'auto' | ProviderName
}

export async function runApply(
  path: string,
  flags: ApplyFlags,
  context: CommandContext,
): Promise<{ readonly json: FolderJson; readonly lines: readonly string[] }> {
  const source = loadModel(path)
  checkOutput(flags.output, { force: flags.force, from: source.folder, data: [flags.data] })
  const plan = readPlan(flags.plan)
  const batches = flags.data
    ? await chooseCalibration(source, flags.data, flags, context)
    : undefined
  const provider = await chooseProvider(flags.provider)
  const result = await applyToFolder({
    ...context,
    provider: provider.name,
    source,
    plan,
    output: flags.output,
    force: flags.force,
    as: flags.as,
    batches,
    single: isSingle(path),
  })
  return { json: folderJson(planJson(plan), result, provider), lines: describeResult(result) }
}
