import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import { modelArgument, providerFlag, seedFlag, summaryFlag } from '../src/cli/flags.js'
import type { VerifyReport } from '../src/verify/report.js'

export default class Verify extends BaseCommand {
  static override summary = 'Check that a model folder keeps its promises.'
  static override description =
    'Every model of the folder is read, checked, run and held against its configs, its tokenizer and the plan it carries; a language model says a few tokens with its cache and without. Exit 3: unreadable, or files that disagree; 4: wrong numbers.'
  static override examples = [
    '<%= config.bin %> verify model/',
    '<%= config.bin %> verify smaller/ --against model/',
    '<%= config.bin %> verify model/ --json',
  ]
  static override args = { model: modelArgument }
  static override flags = {
    against: Flags.string({
      helpValue: 'ORIGINAL',
      description: 'carry out the plan again on this model and compare',
    }),
    summary: summaryFlag,
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<VerifyReport> {
    const { args, flags } = await this.parse(Verify)
    const { runVerify } = await import('../src/cli/run-verify.js')
    const { list, lines } = await runVerify(args.model, flags, this.context(flags))
    for (const line of lines) this.log(line)
    list.assertPassed()
    return list.report()
  }
}
