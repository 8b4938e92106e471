/** Flags that several commands share; each group is what one concern of a command needs. */
import { Args, Flags } from '@oclif/core'
import { metricNames } from '../evaluate/metric-name.js'
import { undecidedRules } from '../evaluate/undecided.js'

export const modelArgument = Args.string({
  required: true,
  description: 'model folder or .onnx file',
})

const output = {
  char: 'o',
  helpValue: 'FOLDER',
  description: 'folder to write; it appears whole or not at all',
} as const

export const requiredOutput = Flags.string({ ...output, required: true })

export const outputFlags = {
  output: Flags.string(output),
  force: Flags.boolean({
    description: 'replace the folder if it is there, with all that is in it',
  }),
}

/** How texts are cut. */
export const textFlags = {
  'sequence-length': Flags.integer({
    min: 2,
    helpValue: 'TOKENS',
    description: 'tokens of a window of text [default: 512, or what the model can take]',
    helpGroup: 'DATA',
  }),
  'text-mode': Flags.option({
    options: ['stream', 'paragraphs', 'sentences'] as const,
    description:
      'windows of one stream, windows with --start-token before each paragraph, or a sentence a row [default: stream for language models, else sentences]',
    helpGroup: 'DATA',
  })(),
  'start-token': Flags.integer({
    min: 0,
    helpValue: 'ID',
    description: 'token before each paragraph [default: bos_token_id of config.json]',
    helpGroup: 'DATA',
  }),
  'batch-size': Flags.integer({
    min: 1,
    description: 'samples that run together [default: as many as make 2,048 tokens]',
    helpGroup: 'DATA',
  }),
}

const data = {
  helpValue: 'FILE',
  description:
    '.txt, .md, .jsonl, .npz, .npy, a test_data_set folder, "random", or "self" to calibrate on text that a language model makes up',
  helpGroup: 'DATA',
} as const

export const requiredData = Flags.string({ ...data, required: true })

export const dataFlags = {
  data: Flags.string(data),
  samples: Flags.integer({
    min: 1,
    description: 'windows, sentences or rows at most',
    helpGroup: 'DATA',
  }),
  tokens: Flags.integer({ min: 1, description: 'tokens of a text at most', helpGroup: 'DATA' }),
  ...textFlags,
}

/** Data for quality where other data decide, or none do. */
export const evalFlags = {
  eval: Flags.string({
    helpValue: 'FILE',
    description: 'data to measure quality on, before and after',
    helpGroup: 'QUALITY',
  }),
  'eval-samples': Flags.integer({
    min: 1,
    description: 'as --samples, for --eval [default: all of it]',
    helpGroup: 'QUALITY',
  }),
}

export const providerFlag = Flags.option({
  options: ['auto', 'cpu', 'cuda', 'webgpu'] as const,
  default: 'auto' as const,
  description: 'where the model runs; auto takes the first of cuda, webgpu, cpu that works',
})()

export const seedFlag = Flags.integer({
  default: 0,
  description: 'of everything that is drawn by chance',
})

export const metricFlag = Flags.option({
  options: metricNames,
  multiple: true,
  multipleNonGreedy: true,
  description: 'what to measure [default: what fits the model and the data]',
  helpGroup: 'QUALITY',
})()

export const summaryFlag = Flags.string({
  helpValue: 'FILE',
  description: 'add the result there as Markdown, for the page of a CI job',
})

export const gateFlags = {
  metric: metricFlag,
  'fail-if': Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'CONDITION',
    description:
      "exit 5 where it holds: 'perplexity>+5%', 'accuracy<0.97', 'size>0.8x', 'latency>-20%@seq=128'",
    helpGroup: 'QUALITY',
  }),
  undecided: Flags.option({
    options: undecidedRules,
    description:
      'what a condition does whose limit lies within the noise [default: a change passes, a number counts as measured]',
    helpGroup: 'QUALITY',
  })(),
  junit: Flags.string({
    helpValue: 'FILE',
    description: 'write check and conditions as JUnit XML, for CI',
    helpGroup: 'QUALITY',
  }),
}
