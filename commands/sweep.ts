import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import {
  dataFlags,
  modelArgument,
  providerFlag,
  requiredOutput,
  seedFlag,
  summaryFlag,
} from '../src/cli/flags.js'
import { passFlag, passFlags } from '../src/cli/pass-flags.js'
import { metricNames } from '../src/evaluate/metric-name.js'
import type { Sweep as Frontier } from '../src/prune/sweep.js'

const { ratio: _ratio, ...otherFlags } = passFlags

export default class Sweep extends BaseCommand {
  static override summary = 'Show what quality each size costs: several ratios, one calibration.'
  static override description =
    'Decides and measures each ratio and keeps its plan in a folder, to be carried out with "attnc apply". Run again, it goes on where it was stopped, and takes in further ratios. The knee is the point after which quality falls faster.'
  static override examples = [
    '<%= config.bin %> sweep model/ --data text.txt --eval eval.txt --ratios 0.1,0.3 -o frontier/',
    '<%= config.bin %> sweep model/ --eval eval.txt --criterion magnitude --recover none --ratios 0.1,0.2,0.5 -o frontier/ --json',
  ]
  static override args = { model: modelArgument }
  static override flags = {
    output: requiredOutput,
    ratios: Flags.string({
      default: '0.1,0.2,0.3,0.4,0.5,0.6',
      helpValue: 'SHARES',
      description: "shares of the blocks' parameters to remove",
    }),
    ...dataFlags,
    pass: passFlag,
    ...otherFlags,
    eval: Flags.string({
      required: true,
      helpValue: 'FILE',
      description: 'data to measure quality on',
      helpGroup: 'QUALITY',
    }),
    'eval-samples': Flags.integer({
      min: 1,
      description: 'as --samples, for --eval [default: all of it]',
      helpGroup: 'QUALITY',
    }),
    metric: Flags.option({
      options: metricNames,
      description: 'what to measure [default: what fits the model and the data]',
      helpGroup: 'QUALITY',
    })(),
    summary: summaryFlag,
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<Frontier> {
    const { args, flags } = await this.parse(Sweep)
    const { runSweep } = await import('../src/cli/run-sweep.js')
    const chosen = Object.fromEntries(
      [...Object.keys(otherFlags), 'seed'].map((name) => [
        name,
        (flags as Record<string, unknown>)[name],
      ]),
    )
    const { json, lines } = await runSweep(args.model, flags, chosen, this.context(flags))
    for (const line of lines) this.log(line)
    return json
  }
}
