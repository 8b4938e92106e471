import { Args, Flags } from '@oclif/core'
import type { BenchResult } from '../src/bench/bench.js'
import { BaseCommand } from '../src/cli/base-command.js'
import { modelArgument, providerFlag, seedFlag, summaryFlag } from '../src/cli/flags.js'

export default class Bench extends BaseCommand {
  static override summary = 'Measure how fast a model is, or two side by side.'
  static override description =
    'Two models run in turns on the same inputs. Times are medians with quartiles, inside ONNX Runtime; a ratio comes with its 95 % interval (bootstrap over pairs). Peak memory is that of a process of its own, over what it took before.'
  static override examples = [
    '<%= config.bin %> bench model/ --sequence-length 64 --runs 5',
    '<%= config.bin %> bench model/ smaller/ --sequence-length 64 --runs 5',
    '<%= config.bin %> bench model/ smaller/ --runs 5 --no-memory --json',
  ]
  static override args = {
    model: modelArgument,
    other: Args.string({ description: 'model folder or .onnx file to compare with it' }),
  }
  static override flags = {
    batch: Flags.integer({ min: 1, default: 1, description: 'rows that run together' }),
    'sequence-length': Flags.integer({
      min: 1,
      helpValue: 'TOKENS',
      description: 'tokens of a prompt [default: 512, or what the model can take]',
    }),
    'decode-tokens': Flags.integer({
      min: 0,
      default: 16,
      description: 'tokens said in a turn; 0 leaves decoding out',
    }),
    runs: Flags.integer({ min: 1, default: 30, description: 'turns at most' }),
    seconds: Flags.integer({
      min: 1,
      default: 20,
      description: 'no turn begins later than this, for each kind of measurement',
    }),
    data: Flags.string({
      helpValue: 'FILE',
      description: 'inputs to run on, instead of seeded random ones',
    }),
    memory: Flags.boolean({ allowNo: true, default: true, description: 'measure peak memory' }),
    summary: summaryFlag,
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<BenchResult> {
    const { args, flags } = await this.parse(Bench)
    const { describeBench, runBench } = await import('../src/cli/run-bench.js')
    const paths = [args.model, ...(args.other === undefined ? [] : [args.other])]
    const found = await runBench(paths, flags, this.context(flags))
    for (const line of describeBench(found)) this.log(line)
    return found
  }
}
