import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import {
  dataFlags,
  gateFlags,
  modelArgument,
  providerFlag,
  requiredData,
  seedFlag,
  summaryFlag,
} from '../src/cli/flags.js'
import type { EvalJson } from '../src/cli/run-eval.js'

export default class Eval extends BaseCommand {
  static override summary = 'Measure how good a model is, alone or beside another.'
  static override description =
    'Perplexity is exp of the mean negative log-likelihood of every token of a window but the first. Labels are an array "labels" in the .npz. cosine and top10 (nearest rows in common) compare embeddings with those of --reference.'
  static override examples = [
    {
      description: 'perplexity of a language model, a line of text a story',
      command: '<%= config.bin %> eval model/ --data eval.txt --text-mode paragraphs',
    },
    {
      description: 'a pruned model beside the original',
      command: '<%= config.bin %> eval smaller/ --data eval.txt --reference model/ --json',
    },
    {
      description: 'in CI',
      command:
        "<%= config.bin %> eval model/ --data eval.txt --samples 20 --fail-if 'perplexity>100' --junit report.xml",
    },
  ]
  static override args = { model: modelArgument }
  static override flags = {
    ...dataFlags,
    data: requiredData,
    reference: Flags.string({
      helpValue: 'MODEL',
      description: 'model to compare with',
      helpGroup: 'QUALITY',
    }),
    ...gateFlags,
    summary: summaryFlag,
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<EvalJson> {
    const { args, flags } = await this.parse(Eval)
    const { runEval } = await import('../src/cli/run-eval.js')
    const { json, lines } = await runEval(args.model, flags, this.context(flags))
    for (const line of lines) this.log(line)
    return json
  }
}
