import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import { modelArgument, providerFlag, seedFlag } from '../src/cli/flags.js'
import type { GenerateJson } from '../src/cli/run-generate.js'

export default class Generate extends BaseCommand {
  static override summary = 'Let a language model continue a text.'
  static override description =
    'Takes the most likely token each time, or draws one where a temperature, top-k or top-p is given. Of a folder, the model that has a cache is used. The text goes to stdout as it comes; the speed to stderr.'
  static override examples = [
    "<%= config.bin %> generate model/ --prompt 'Once upon a time' --max-tokens 40",
    "<%= config.bin %> generate model/ --prompt 'Once upon a time' --temperature 0.8 --top-p 0.95 --seed 7",
    "<%= config.bin %> generate model/ --prompt 'Once upon a time' --max-tokens 8 --no-cache --json",
  ]
  static override args = { model: modelArgument }
  static override flags = {
    prompt: Flags.string({ char: 'p', required: true, description: 'text to continue' }),
    'max-tokens': Flags.integer({ min: 1, default: 128, description: 'tokens to say at most' }),
    temperature: Flags.string({
      helpValue: 'NUMBER',
      description: '0 takes the best token; 1 draws by its probability [default: 0]',
    }),
    'top-k': Flags.integer({ min: 1, description: 'draw from so many tokens at most' }),
    'top-p': Flags.string({
      helpValue: 'NUMBER',
      description: 'draw from the fewest tokens that are together so likely',
    }),
    cache: Flags.boolean({
      allowNo: true,
      default: true,
      description: 'keep keys and values of what was said',
    }),
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<GenerateJson> {
    const { args, flags } = await this.parse(Generate)
    const { runGenerate } = await import('../src/cli/run-generate.js')
    const isSilent = this.jsonEnabled()
    const { json, summary } = await runGenerate(args.model, flags, this.context(flags), (piece) => {
      // The line of a terminal is the text's from here on.
      this.output.stop()
      if (!isSilent) process.stdout.write(piece)
    })
    if (!isSilent) process.stdout.write('\n')
    this.output.info(summary)
    return json
  }
}
