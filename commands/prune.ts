import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import {
  dataFlags,
  evalFlags,
  gateFlags,
  modelArgument,
  outputFlags,
  providerFlag,
  seedFlag,
  summaryFlag,
} from '../src/cli/flags.js'
import { passFlag, passFlags, targetFlag } from '../src/cli/pass-flags.js'
import type { PruneJson } from '../src/cli/run-prune.js'

export default class Prune extends BaseCommand {
  static override summary = 'Make a model smaller: calibrate, decide, rewrite, check, report.'
  static override description =
    'Writes a folder that the same host loads, with the plan in it. Nothing is written unless the pruned model equals the masked one and every --fail-if condition is kept. Exits with 68 where some block could not lose anything.'
  static override examples = [
    {
      description: 'a language model, a fifth smaller, decided on a text',
      command: '<%= config.bin %> prune model/ --data text.txt -o smaller/',
    },
    {
      description: 'a third, with a page of what happened, failing where it costs too much',
      command:
        "<%= config.bin %> prune model/ --data text.txt --ratio 0.3 --eval eval.txt --fail-if 'perplexity>50' -o smaller/ --report report.html",
    },
    {
      description: 'half of it, trained back to quality with the original as the teacher',
      command:
        '<%= config.bin %> prune model/ --data text.txt --ratio 0.5 --recover distill -o smaller/',
    },
    {
      description: 'no more than needed to meet a budget',
      command:
        '<%= config.bin %> prune model/ --data text.txt --target params=0.8x --target flops=0.8x -o smaller/',
    },
    {
      description: 'look first, write the plan, carry it out later',
      command: '<%= config.bin %> prune model/ --data text.txt --dry-run --plan-out plan.json',
    },
    {
      description: 'another kind of model: arrays by input name; one layer stays as it is',
      command:
        "<%= config.bin %> prune model/ --data arrays.npz --protect 'layer 0' --round-to 8 -o smaller/",
    },
    {
      description: 'half of it, by masks that are learned',
      command: '<%= config.bin %> prune model/ --pass vtrans --data text.txt --ratio 0.5 -o half/',
    },
    {
      description: 'attention that sees its last 1,024 keys and the first 64, for long inputs',
      command:
        '<%= config.bin %> prune model/ --pass sparsify --pattern window:1024+sinks:64 -o longer/',
    },
    {
      description: 'without the tokens that a text has no use for',
      command:
        '<%= config.bin %> prune model/ --pass vocabulary --data text.txt --coverage 0.999 -o smaller/',
    },
    {
      description: 'weights in 4 bits, rounded on a text, after a fifth of the blocks went',
      command:
        '<%= config.bin %> prune model/ --pass amp --pass quantize --data text.txt -o smaller/',
    },
    {
      description: 'no data at hand',
      command:
        '<%= config.bin %> prune model/ --criterion magnitude --recover none -o smaller/ --json',
    },
  ]
  static override args = { model: modelArgument }
  static override flags = {
    ...outputFlags,
    'dry-run': Flags.boolean({
      description: 'only say what would go; with --json, the plan is printed',
      exclusive: ['output'],
    }),
    plan: Flags.string({
      helpValue: 'FILE',
      description: 'decide nothing, carry out this plan',
      exclusive: ['target', ...Object.keys(passFlags)],
    }),
    'plan-out': Flags.string({
      helpValue: 'FILE',
      description: 'write the plan there as well (its numbers lie beside it as .npz)',
    }),
    ...dataFlags,
    calibration: Flags.string({
      helpValue: 'FILE',
      description:
        'what "attnc calibrate" measured, instead of measuring it on --data; with --data too, the re-fit sees the pruned model',
      helpGroup: 'DATA',
    }),
    target: targetFlag,
    pass: passFlag,
    ...passFlags,
    ...evalFlags,
    ...gateFlags,
    report: Flags.string({
      helpValue: 'FILE',
      exclusive: ['dry-run'],
      description:
        'write what happened as a page too: timed, with texts where the data are text (see attnc report)',
      helpGroup: 'QUALITY',
    }),
    summary: summaryFlag,
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<PruneJson> {
    const { args, flags } = await this.parse(Prune)
    const { runPrune } = await import('../src/cli/run-prune.js')
    const { json, lines, exitCode } = await runPrune(args.model, flags, this.context(flags))
    for (const line of lines) this.log(line)
    if (exitCode) process.exitCode = exitCode
    return json
  }
}
