import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import { modelArgument } from '../src/cli/flags.js'
import type { Inspection } from '../src/inspect/inspect.js'

export default class Inspect extends BaseCommand {
  static override summary = 'Show what a model is made of and what may be removed from it.'
  static override description =
    'Reads heads, key-value heads, widths and everything else that could be removed from the graph itself; names and exporters play no part.'
  static override examples = [
    '<%= config.bin %> inspect model/',
    '<%= config.bin %> inspect model/model.onnx --explain',
    '<%= config.bin %> inspect model/ --json',
  ]
  static override args = { model: modelArgument }
  static override flags = {
    explain: Flags.boolean({ description: 'say why the rest may not be removed' }),
  }

  async run(): Promise<Inspection> {
    const { args, flags } = await this.parse(Inspect)
    const [{ loadModel }, { inspect }, { describeInspection }] = await Promise.all([
      import('../src/model-folder/load.js'),
      import('../src/inspect/inspect.js'),
      import('../src/cli/describe-inspection.js'),
    ])
    const { model } = loadModel(args.model)
    const found = await inspect(model, this.signal)
    for (const line of describeInspection(found, flags.explain)) this.log(line)
    return found
  }
}
