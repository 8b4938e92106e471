import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import {
  dataFlags,
  modelArgument,
  outputFlags,
  providerFlag,
  requiredOutput,
  summaryFlag,
} from '../src/cli/flags.js'
import type { FolderJson } from '../src/cli/prune-json.js'

export default class Apply extends BaseCommand {
  static override summary = 'Carry out a plan: the same plan gives the same bytes.'
  static override description =
    'A plan is written by "prune", or by hand: {"format": 1, "slices": [{"dimension": "layer.0.width", "remove": [3, 17]}]}. Dimensions are called as "inspect --explain" prints them.'
  static override examples = [
    {
      description: 'replay a plan',
      command: '<%= config.bin %> apply model/ --plan plan.json -o smaller/',
    },
    {
      description: 'the model at its old size, with what would go set to nothing',
      command: '<%= config.bin %> apply model/ --plan plan.json --as mask -o masked/',
    },
  ]
  static override args = { model: modelArgument }
  static override flags = {
    ...outputFlags,
    output: requiredOutput,
    plan: Flags.string({
      required: true,
      helpValue: 'FILE',
      description: 'plan.json, or a folder that has one',
    }),
    as: Flags.option({
      options: ['slice', 'mask'] as const,
      default: 'slice' as const,
      description: 'cut members out, or keep the size and mask them',
    })(),
    ...dataFlags,
    summary: summaryFlag,
    provider: providerFlag,
  }

  async run(): Promise<FolderJson> {
    const { args, flags } = await this.parse(Apply)
    const { runApply } = await import('../src/cli/run-apply.js')
    const { json, lines } = await runApply(args.model, flags, this.context(flags))
    for (const line of lines) this.log(line)
    return json
  }
}
