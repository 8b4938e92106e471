import { Flags } from '@oclif/core'
import { BaseCommand } from '../../src/cli/base-command.js'
import type { CalibrateJson } from '../../src/cli/run-calibrate.js'

export default class Merge extends BaseCommand {
  static override summary = 'Put parts of a calibration together, in any order.'
  static override description =
    'The parts have to come from the same model, data and options, each batch from one of them. Parts may be put together in several steps.'
  static override examples = [
    '<%= config.bin %> calibrate merge part-1.npz part-2.npz -o calibration.npz',
  ]
  static override strict = false
  static override usage = 'calibrate merge PART PART... -o FILE'
  static override flags = {
    output: Flags.string({
      char: 'o',
      required: true,
      helpValue: 'FILE',
      description: 'calibration file (.npz) to write',
    }),
    force: Flags.boolean({ description: 'replace the file if it is there' }),
  }

  async run(): Promise<CalibrateJson> {
    const { argv, flags } = await this.parse(Merge)
    const { runMerge } = await import('../../src/cli/run-calibrate.js')
    const { json, lines } = await runMerge(argv.map(String), flags)
    for (const line of lines) this.log(line)
    return json
  }
}
