import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import {
  evalFlags,
  metricFlag,
  modelArgument,
  providerFlag,
  seedFlag,
  textFlags,
} from '../src/cli/flags.js'
import type { ReportData } from '../src/report/report-data.js'

export default class Report extends BaseCommand {
  static override summary = 'Show what happened to a model as one page that opens in any browser.'
  static override description =
    'Before and after, what each layer kept, what it would cost to take more, quality against size, how training went, texts side by side, and the graph with a box to search it. The page is one file and loads nothing. It has what both folders and their plan say; what other commands measured comes in with --from, and --bench, --eval and --prompt measure it now. With --json the data of the page are printed too.'
  static override examples = [
    '<%= config.bin %> report model/ smaller/ -o report.html',
    {
      description: 'everything measured now',
      command:
        "<%= config.bin %> report model/ smaller/ --bench --eval eval.txt --prompt 'Once upon a time' -o report.html",
    },
    {
      description: 'with what earlier runs said',
      command:
        '<%= config.bin %> report model/ smaller/ --from prune.json --from frontier/ -o report.html',
    },
  ]
  static override args = {
    model: modelArgument,
    pruned: Args.string({ required: true, description: 'what attnc made of it' }),
  }
  static override flags = {
    output: Flags.string({
      char: 'o',
      required: true,
      helpValue: 'FILE',
      description: 'page to write; it appears whole or not at all',
    }),
    force: Flags.boolean({ description: 'replace the page if it is there' }),
    plan: Flags.string({
      helpValue: 'FILE',
      description: 'plan that the model was made by [default: plan.json beside it]',
    }),
    from: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'FILE',
      description:
        'what prune, apply, train, bench or sweep printed with --json, or the folder of a sweep',
    }),
    bench: Flags.boolean({ description: 'time both models here, in turns' }),
    prompt: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TEXT',
      description: 'text that both models continue',
    }),
    'max-tokens': Flags.integer({ min: 1, default: 64, description: 'of a continuation' }),
    ...textFlags,
    ...evalFlags,
    metric: metricFlag,
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<ReportData> {
    const { args, flags } = await this.parse(Report)
    const { runReport } = await import('../src/cli/run-report.js')
    const { json, lines } = await runReport(args.model, args.pruned, flags, this.context(flags))
    for (const line of lines) this.log(line)
    return json
  }
}
