/** `--report`: the page of a model that was just made, with what the run said, timed, and texts of its data. */
import { loadModel } from '../model-folder/load.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { gatherReport } from '../report/gather.js'
import { promptsFrom } from '../report/prompts.js'
import { parseRun } from '../report/run-file.js'
import type { ProviderName } from '../runtime/provider.js'
import type { CommandContext } from './command-context.js'
import { writePage } from './run-report.js'

export interface PruneReport {
  readonly original: string
  readonly pruned: string
  readonly page: string
  /** What the run printed with `--json`. */
  readonly json: unknown
  /** Text that the run was judged or decided on. */
  readonly text: string | undefined
  readonly provider: ProviderName
}

/** Lines that say what is in the page. */
export async function reportPrune(
  { original, pruned, page, json, text, provider }: PruneReport,
  context: CommandContext,
): Promise<string[]> {
  const before = loadModel(original)
  const single = isSingle(original)
  const data = await gatherReport({
    ...context,
    provider,
    before,
    after: loadModel(pruned),
    single,
    runs: [parseRun(json, 'prune')],
    bench: true,
    prompts: promptsFrom(text, before, single),
  })
  return writePage(page, data)
}
