import { Flags } from '@oclif/core'
import { BaseCommand } from '../src/cli/base-command.js'
import {
  dataFlags,
  modelArgument,
  outputFlags,
  providerFlag,
  requiredData,
  requiredOutput,
  seedFlag,
} from '../src/cli/flags.js'
import { trainingFlags } from '../src/cli/pass-flags.js'
import type { TrainJson } from '../src/cli/run-train.js'

export default class Train extends BaseCommand {
  static override summary = 'Train the weights of products, or low-rank updates of them.'
  static override description =
    'For a pruned model to get well again: gradients are nodes of the same graph, so no other framework is needed. Held-out data decides which parameters are kept and when it ends; the updates are folded into the weights. Language models learn the next token, others their "labels".'
  static override examples = [
    {
      description: 'a pruned model learns from the one it was made of',
      command: '<%= config.bin %> train smaller/ --data text.txt --teacher model/ -o well/',
    },
    {
      description: 'a run that may be interrupted and goes on to the same numbers',
      command:
        '<%= config.bin %> train smaller/ --data text.txt --updates 2000 --checkpoint run.npz -o well/',
    },
    {
      description: 'all projections, judged by data of their own',
      command:
        '<%= config.bin %> train model/ --data text.txt --held-out eval.txt --method full -o better/',
    },
  ]
  static override args = { model: modelArgument }
  static override flags = {
    ...outputFlags,
    output: requiredOutput,
    ...dataFlags,
    data: requiredData,
    'held-out': Flags.string({
      helpValue: 'FILE',
      description: 'data to judge by [default: the last tenth of --data]',
      helpGroup: 'DATA',
    }),
    teacher: Flags.string({
      helpValue: 'MODEL',
      description: 'a model of which the answers are learned as well',
      helpGroup: 'TRAINING',
    }),
    'teacher-share': Flags.string({
      default: '0.5',
      helpValue: 'SHARE',
      description: 'share of the loss that is the distance from the teacher',
      helpGroup: 'TRAINING',
    }),
    temperature: Flags.string({
      default: '1',
      helpValue: 'T',
      description: 'at which teacher and student are compared',
      helpGroup: 'TRAINING',
    }),
    distance: Flags.option({
      options: ['mse', 'cosine'] as const,
      default: 'mse' as const,
      description: 'how hidden states, and answers that are no probabilities, are compared',
      helpGroup: 'TRAINING',
    })(),
    method: Flags.option({
      options: ['lora', 'full'] as const,
      default: 'lora' as const,
      description: 'low-rank updates, or the projections themselves',
      helpGroup: 'TRAINING',
    })(),
    ...trainingFlags,
    rank: Flags.integer({
      min: 1,
      default: 16,
      description: 'of an update',
      helpGroup: 'TRAINING',
    }),
    alpha: Flags.integer({
      min: 1,
      description: 'updates are scaled by alpha / rank [default: twice the rank]',
      helpGroup: 'TRAINING',
    }),
    updates: Flags.integer({
      min: 1,
      default: 200,
      description: 'of the parameters, at most',
      helpGroup: 'TRAINING',
    }),
    accumulate: Flags.integer({
      min: 1,
      default: 1,
      description: 'batches of which the gradients are averaged before an update',
      helpGroup: 'TRAINING',
    }),
    rate: Flags.string({
      helpValue: 'RATE',
      description: 'peak learning rate [default: 0.002 for lora, 0.0005 for full]',
      helpGroup: 'TRAINING',
    }),
    schedule: Flags.option({
      options: ['constant', 'linear', 'cosine'] as const,
      default: 'cosine' as const,
      description: 'how the rate falls after the warm-up',
      helpGroup: 'TRAINING',
    })(),
    warmup: Flags.integer({
      min: 0,
      default: 10,
      description: 'updates over which the rate rises',
      helpGroup: 'TRAINING',
    }),
    optimizer: Flags.option({
      options: ['adamw', 'sgd'] as const,
      default: 'adamw' as const,
      description: 'how gradients become updates',
      helpGroup: 'TRAINING',
    })(),
    decay: Flags.string({
      default: '0',
      helpValue: 'DECAY',
      description: 'weight decay, apart from the gradient',
      helpGroup: 'TRAINING',
    }),
    clip: Flags.string({
      default: '1',
      helpValue: 'NORM',
      description: 'longest gradient',
      helpGroup: 'TRAINING',
    }),
    patience: Flags.integer({
      min: 1,
      default: 5,
      description: 'looks at held-out data without an improvement before it ends',
      helpGroup: 'TRAINING',
    }),
    checkpoint: Flags.string({
      helpValue: 'FILE.npz',
      description: 'the run, written as it goes; one that is there goes on',
      helpGroup: 'TRAINING',
    }),
    'adapter-out': Flags.string({
      helpValue: 'FOLDER',
      description: 'write the low-rank updates there as well, as PEFT reads them',
      helpGroup: 'TRAINING',
    }),
    provider: providerFlag,
    seed: seedFlag,
  }

  async run(): Promise<TrainJson> {
    const { args, flags } = await this.parse(Train)
    const { runTrain } = await import('../src/cli/run-train.js')
    const { json, lines } = await runTrain(args.model, flags, this.context(flags))
    for (const line of lines) this.log(line)
    return json
  }
}
