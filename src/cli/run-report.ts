/** `attnc report` behind its flags: whatever can be refused is, before anything is measured. */
import { lstatSync } from 'node:fs'
import { resolve } from 'node:path'
import { describeBytes } from '../amounts.js'
import { AttncError } from '../errors.js'
import type { MetricName } from '../evaluate/metric-name.js'
import { loadModel } from '../model-folder/load.js'
import { readPlanNote } from '../plan/plan-file.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { gatherReport } from '../report/gather.js'
import { renderReport } from '../report/render-report.js'
import type { ReportData } from '../report/report-data.js'
import { readRunFile } from '../report/run-file.js'
import { judgeReport } from '../report/sections/verdict.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { checkWritable, isWrittenInto, writeWhole } from '../write-whole.js'
import { chooseData, chooseDataOfOther, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'

export interface ReportFlags extends DataChoice {
  readonly output: string
  readonly force: boolean
  readonly plan?: string | undefined
  readonly from?: readonly string[] | undefined
  readonly bench: boolean
  readonly prompt?: readonly string[] | undefined
  readonly 'max-tokens': number
  readonly eval?: string | undefined
  readonly 'eval-samples'?: number | undefined
  readonly metric?: readonly MetricName[] | undefined
  readonly provider: 'auto' | ProviderName
}

export async function runReport(
  original: string,
  pruned: string,
  flags: ReportFlags,
  context: CommandContext,
): Promise<{ readonly json: ReportData; readonly lines: readonly string[] }> {
  checkPage(flags.output, flags.force)
  const runs = (flags.from ?? []).map(readRunFile)
  const plan = flags.plan === undefined ? undefined : readPlanNote(flags.plan).plan
  const [before, after] = [loadModel(original), loadModel(pruned)]
  const choice = { ...flags, samples: flags['eval-samples'], tokens: undefined }
  const batches = flags.eval ? await chooseData(before, flags.eval, choice, context) : []
  const evaluate = flags.eval
    ? {
        batches,
        afterBatches: await chooseDataOfOther(
          after,
          { source: before, batches },
          flags.eval,
          choice,
          context,
        ),
        metrics: flags.metric ?? [],
        file: flags.eval,
      }
    : undefined
  const isMeasured = flags.bench || evaluate || (flags.prompt?.length ?? 0) > 0
  const provider = isMeasured ? (await chooseProvider(flags.provider)).name : undefined
  const json = await gatherReport({
    ...context,
    before,
    after,
    single: isSingle(original) || isSingle(pruned),
    plan,
    runs,
    provider,
    bench: flags.bench,
    prompts: flags.prompt,
    maxTokens: flags['max-tokens'],
    evaluate,
  })
  return { json, lines: writePage(flags.output, json) }
}

/** Worth asking before long work. Errors: OUTPUT_EXISTS, OUTPUT_NOT_A_FILE, OUTPUT_UNWRITABLE. */
export function checkPage(output: string, force: boolean): void {
  checkWritable(output)
  const found = lstatSync(output, { throwIfNoEntry: false })
  if (found && !isWrittenInto(output) && !force)
    throw new AttncError('OUTPUT_EXISTS', 'usage', `"${output}" is there already.`, {
      suggestions: [
        'Name another file, or pass --force to replace it once the new one is complete.',
      ],
    })
}

export function writePage(output: string, data: ReportData): string[] {
  const page = renderReport(data)
  writeWhole(output, page)
  const { sentence, open } = judgeReport(data)
  return [
    sentence,
    ...(open.length > 0 ? [`Not in it: ${open.join('; ')}.`] : []),
    `Wrote ${resolve(output)}, ${describeBytes(Buffer.byteLength(page))}; it opens in any browser.`,
  ]
}
