import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import { dataFlags, modelArgument, providerFlag, seedFlag, summaryFlag } from '../src/cli/flags.js'
import type { Comparison } from '../src/compare/compare.js'

export default class Compare extends BaseCommand {
  static override summary = 'Show what differs between two models: their graphs and their numbers.'
  static override description =
    'Block by block what changed, which operators, inputs, outputs and constants; then both models on the same inputs, output by output. Caches whose shapes differ are named, not compared.'
  static override examples = [
    '<%= config.bin %> compare model/ smaller/',
    '<%= config.bin %> compare model/ smaller/ --data eval.txt --samples 4',
    '<%= config.bin %> compare model/ smaller/ --no-numbers --json',
  ]
  static override args = {
    model: modelArgument,
    other: Args.string({ required: true, description: 'model folder or .onnx file' }),
  }
  static override flags = {
    ...dataFlags,
    numbers: Flags.boolean({
      allowNo: true,
      default: true,
      description: 'run both models, not only read them',
    }),
    summary: summaryFlag,
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<Comparison> {
    const { args, flags } = await this.parse(Compare)
    const { describeComparison, runCompare } = await import('../src/cli/run-compare.js')
    const found = await runCompare(args.model, args.other, flags, this.context(flags))
    for (const line of describeComparison(found)) this.log(line)
    return found
  }
}
