import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import type { CalibrateJson } from '../src/cli/run-calibrate.js'

export default class Calibrate extends BaseCommand {
  static override summary = 'Measure on data what pruning decides by, and keep it in a file.'
  static override description =
    'An interrupted run goes on where it stopped when the same command is given again. Parts made with --shard on several machines are put together by "calibrate merge" and are then, byte for byte, what one run gives.'
  static override examples = [
    {
      description: 'once, for many prunings',
      command: '<%= config.bin %> calibrate model/ --data text.txt -o calibration.npz',
    },
    {
      description: 'the second of eight parts',
      command: '<%= config.bin %> calibrate model/ --data text.txt --shard 2/8 -o part-2.npz',
    },
    {
      description: 'all parts together',
      command: '<%= config.bin %> calibrate merge part-1.npz part-2.npz -o calibration.npz',
    },
  ]
  static override args = {
    model: Args.string({ required: true, description: 'model folder or .onnx file' }),
  }
  static override flags = {
    output: Flags.string({
      char: 'o',
      required: true,
      helpValue: 'FILE',
      description: 'calibration file (.npz) to write',
    }),
    force: Flags.boolean({ description: 'replace the file if it is there' }),
    data: Flags.string({
      required: true,
      helpValue: 'FILE',
      description: '.txt, .md, .jsonl, .npz, .npy, a test_data_set folder, or "random"',
      helpGroup: 'DATA',
    }),
    samples: Flags.integer({
      min: 1,
      description: 'windows, sentences or rows at most, over all parts',
      helpGroup: 'DATA',
    }),
    'sequence-length': Flags.integer({
      min: 2,
      helpValue: 'TOKENS',
      description: 'tokens of a window of text [default: 512]',
      helpGroup: 'DATA',
    }),
    'batch-size': Flags.integer({
      min: 1,
      description: 'samples that run together [default: 2]',
      helpGroup: 'DATA',
    }),
    shard: Flags.string({
      helpValue: 'I/N',
      description: 'only every N-th batch, from the I-th on',
    }),
    stride: Flags.integer({
      min: 1,
      description: 'moments take every so many tokens [default: 3]; 1 takes all',
    }),
    provider: Flags.option({
      options: ['auto', 'cpu', 'cuda', 'webgpu'] as const,
      default: 'auto' as const,
      description: 'where the model runs; auto takes the first of cuda, webgpu, cpu that works',
    })(),
    seed: Flags.integer({ default: 0, description: 'of random inputs' }),
  }

  async run(): Promise<CalibrateJson> {
    const { args, flags } = await this.parse(Calibrate)
    const { runCalibrate } = await import('../src/cli/run-calibrate.js')
    const { threads } = flags
    const context = { log: this.output, signal: this.signal, threads }
    const { json, lines } = await runCalibrate(args.model, flags, context)
    for (const line of lines) this.log(line)
    return json
  }
}
