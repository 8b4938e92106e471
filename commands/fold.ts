import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import { modelArgument, outputFlags, requiredOutput } from '../src/cli/flags.js'
import type { FoldJson } from '../src/cli/run-fold.js'

export default class Fold extends BaseCommand {
  static override summary = 'Fold a LoRA adapter of PEFT into the weights of a model.'
  static override description =
    'Reads adapter_config.json and adapter_model.safetensors. Modules are found by the names that the exporter left on nodes and weights; an adapter of which any module has no place is refused.'
  static override examples = [
    {
      description: 'an adapter that was trained beside the original',
      command: '<%= config.bin %> fold model/ --adapter adapter/ -o folded/',
    },
  ]
  static override args = { model: modelArgument }
  static override flags = {
    ...outputFlags,
    output: requiredOutput,
    adapter: Flags.string({
      required: true,
      helpValue: 'FOLDER',
      description: 'with adapter_config.json and adapter_model.safetensors',
    }),
  }

  async run(): Promise<FoldJson> {
    const { args, flags } = await this.parse(Fold)
    const { runFold } = await import('../src/cli/run-fold.js')
    const { json, lines } = await runFold(args.model, flags, this.context(flags))
    for (const line of lines) this.log(line)
    return json
  }
}
