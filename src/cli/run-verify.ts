/** `attnc verify` behind its flags. */
import { isSingle } from '../prune/apply-to-folder.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import type { Checklist } from '../verify/report.js'
import { verify } from '../verify/verify.js'
import type { CommandContext } from './command-context.js'
import { table } from './text.js'

export interface VerifyFlags {
  readonly against?: string | undefined
  readonly seed: number
  readonly provider: 'auto' | ProviderName
}

export async function runVerify(
  path: string,
  flags: VerifyFlags,
  context: CommandContext,
): Promise<{ readonly list: Checklist; readonly lines: readonly string[] }> {
  const { name: provider } = await chooseProvider(flags.provider)
  const { against, seed } = flags
  const single = isSingle(path)
  const list = await verify({ ...context, provider, path, against, seed, single })
  const rows = list.checks.map(({ file, check, result, detail }) => [file, check, result, detail])
  return { list, lines: table(['model', 'check', 'result', 'what was seen'], rows) }
}
