import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import { dataFlags, modelArgument, providerFlag, requiredData, seedFlag } from '../src/cli/flags.js'
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
  ]
  static override args = { model: modelArgument }
  static override flags = {
    output: Flags.string({
      char: 'o',
      required: true,
      helpValue: 'FILE',
      description: 'calibration file (.npz) to write',
    }),
    force: Flags.boolean({ description: 'replace the file if it is there' }),
    ...dataFlags,
    data: requiredData,
    shard: Flags.string({
      helpValue: 'I/N',
      description: 'only every N-th batch, from the I-th on',
    }),
    stride: Flags.integer({
      min: 1,
      description: 'moments take every so many tokens [default: 3]; 1 takes all',
    }),
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<CalibrateJson> {
    const { args, flags } = await this.parse(Calibrate)
    const { runCalibrate } = await import('../src/cli/run-calibrate.js')
    const { json, lines } = await runCalibrate(args.model, flags, this.context(flags))
    for (const line of lines) this.log(line)
    return json
  }
}
