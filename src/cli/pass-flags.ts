/** Flags that passes read: what goes, how what is left is trained, what numbers are kept in. */
import { Flags } from '@oclif/core'
import { trainingPrecisions } from '../train/training-graph.js'
import { weightRoles } from '../train/weights/weight-role.js'

/** Names of the passes; here, so that `--help` loads none of them. */
export const passFlag = Flags.option({
  options: ['amp', 'sparsify', 'vtrans', 'recover', 'vocabulary', 'lighten', 'quantize'] as const,
  multiple: true,
  multipleNonGreedy: true,
  default: ['amp'],
  description: 'how it is decided what goes; several run in their order',
  helpGroup: 'PASS',
})()

/** How training goes, where several commands train. */
export const trainingFlags = {
  roles: Flags.option({
    options: weightRoles,
    multiple: true,
    multipleNonGreedy: true,
    delimiter: ',',
    description:
      'which weights are trained, by what they do; with lora, embeddings, norms and biases are trained themselves [default: attention,feedForward for lora, else all]',
    helpGroup: 'TRAINING',
  })(),
  'memory-limit': Flags.string({
    helpValue: 'SIZE',
    description:
      'memory that training may take; where it is too little, parts of the forward pass are computed twice rather than kept [default: most of what is free]',
    helpGroup: 'TRAINING',
  }),
  'training-precision': Flags.option({
    options: trainingPrecisions,
    description:
      'what training computes in; weights that learn stay float32 [default: float16 on a GPU by CUDA, else float32]',
    helpGroup: 'TRAINING',
  })(),
  'hidden-share': Flags.string({
    helpValue: 'SHARE',
    description:
      'share of the distance from the teacher that is between hidden states, layers paired as CoFi does [default: 0]',
    helpGroup: 'TRAINING',
  }),
}

const recoverFlags = {
  'recover-updates': Flags.integer({
    min: 1,
    description: 'of the weights, at most [default: 600]',
    helpGroup: 'TRAINING',
  }),
  rate: Flags.string({
    helpValue: 'RATE',
    description:
      'peak learning rate [default: 0.001 for lora, else by the width of the model, at most 0.002]',
    helpGroup: 'TRAINING',
  }),
  rank: Flags.integer({
    min: 1,
    description: 'of a low-rank update [default: 16]',
    helpGroup: 'TRAINING',
  }),
  'teacher-share': Flags.string({
    helpValue: 'SHARE',
    description:
      'share of the loss that is the distance from the original model [default: 0.5, or 1 for distill]',
    helpGroup: 'TRAINING',
  }),
  recite: Flags.integer({
    min: 0,
    helpValue: 'WINDOWS',
    description:
      'text that the original model makes up to be learned from [default: as much as data lack]',
    helpGroup: 'TRAINING',
  }),
  ...trainingFlags,
}

export const targetFlag = Flags.string({
  multiple: true,
  multipleNonGreedy: true,
  helpValue: 'TARGET',
  exclusive: ['ratio'],
  description:
    "instead of --ratio, exit 6 where it can't be met: params=0.8x, size=50MB, flops=0.7x, kv=0.5x, or measured here: 'latency=0.7x@batch=1,seq=512', throughput=1.4x, memory=0.8x; several are all met",
  helpGroup: 'PASS',
})

const quantizeFlags = {
  precision: Flags.option({
    options: ['int4', 'int8', 'qdq', 'float16'] as const,
    description:
      'what --pass quantize keeps the weights of products in; qdq rounds what they read as well, to 8 bits by ranges seen on --data; float16 is the whole model, for GPUs [default: int4]',
    helpGroup: 'QUANTISATION',
  })(),
  tables: Flags.option({
    options: ['float', 'int8', 'int4'] as const,
    description:
      'what embeddings are kept in, also where the head is the same matrix [default: int8]',
    helpGroup: 'QUANTISATION',
  })(),
  rounding: Flags.option({
    options: ['nearest', 'calibrated'] as const,
    description:
      'each number by itself, or so that what a weight computes of --data stays [default: calibrated where there are data]',
    helpGroup: 'QUANTISATION',
  })(),
  'block-size': Flags.option({
    options: ['16', '32', '64', '128', '256'] as const,
    description: 'inputs that share a scale [default: 32]',
    helpGroup: 'QUANTISATION',
  })(),
  symmetric: Flags.boolean({
    description: 'scales without zero points: fewer bytes, larger errors',
    helpGroup: 'QUANTISATION',
  }),
  'accuracy-level': Flags.option({
    options: ['0', '1', '2', '3', '4'] as const,
    description:
      'what MatMulNBits may round its inputs to: 0 to nothing, 4 to 8-bit integers, which is fastest on CPUs [default: 4]',
    helpGroup: 'QUANTISATION',
  })(),
}

const vocabularyFlags = {
  'min-count': Flags.integer({
    min: 1,
    description: 'with --pass vocabulary: tokens stay that --data have as often [default: 1]',
    helpGroup: 'PASS',
  }),
  coverage: Flags.string({
    helpValue: 'SHARE',
    description:
      'with --pass vocabulary: the most frequent tokens stay that make this share of --data [default: 1]',
    helpGroup: 'PASS',
  }),
}

export const passFlags = {
  ...recoverFlags,
  ...vocabularyFlags,
  ...quantizeFlags,
  ratio: Flags.string({
    helpValue: 'SHARE',
    description: "share of the blocks' parameters to remove: 0.3 or 30% [default: 0.2]",
    helpGroup: 'PASS',
  }),
  criterion: Flags.option({
    options: [
      'output',
      'activation',
      'paper',
      'magnitude',
      'random',
      'reversed',
      'taylor',
      'fisher',
    ] as const,
    description: 'what is said to matter least [default: output, the measured best]',
    helpGroup: 'PASS',
  })(),
  allocation: Flags.option({
    options: ['global', 'uniform'] as const,
    description: 'share of each layer: from calibration, or the same for all [default: global]',
    helpGroup: 'PASS',
  })(),
  weigh: Flags.option({
    options: ['stream', 'answers', 'loss'] as const,
    description:
      'what an error counts: its size against the stream, what trying it does to the answers, or what a backward pass says of the loss [default: stream; with --target answers]',
    helpGroup: 'PASS',
  })(),
  recover: Flags.option({
    options: ['none', 'ridge', 'lora', 'full', 'distill'] as const,
    description:
      're-fit what stays in closed form, or not; then train low-rank updates, all weights, or all weights by the answers of the original alone [default: ridge]',
    helpGroup: 'PASS',
  })(),
  scope: Flags.option({
    options: ['all', 'heads', 'feedForward'] as const,
    description: 'which blocks lose something [default: all]',
    helpGroup: 'PASS',
  })(),
  layers: Flags.boolean({
    description:
      'with --pass vtrans: the attention and feed-forward blocks of layers have masks of their own and may go whole',
    helpGroup: 'PASS',
  }),
  'round-to': Flags.string({
    helpValue: 'N',
    description: 'feed-forward widths that stay are multiples of it; "auto" is 16',
    helpGroup: 'PASS',
  }),
  variant: Flags.option({
    options: ['faster', 'fast', 'full', 'local'] as const,
    description:
      'with --pass vtrans: masks alone; weights too, on a part or all of the data; or a closed form [default: faster]',
    helpGroup: 'PASS',
  })(),
  'ratio-of': Flags.option({
    options: ['parameters', 'flops', 'latency', 'both'] as const,
    description:
      'with --pass vtrans: what of the blocks --ratio is a share of; latency is timed here, on --provider; both: parameters and latency, each by the ratio [default: parameters]',
    helpGroup: 'PASS',
  })(),
  choice: Flags.option({
    options: ['best', 'masks'] as const,
    description:
      'with --pass vtrans: what goes is said by the masks, or by the error of each block where held-out data like that better; the second takes a third more time [default: best]',
    helpGroup: 'PASS',
  })(),
  updates: Flags.integer({
    min: 1,
    description: 'how long masks are learned, with --pass vtrans [default: 400]',
    helpGroup: 'PASS',
  }),
  lighten: Flags.boolean({
    allowNo: true,
    description:
      'the same results by less work, in standard operators, as --pass lighten does [default: after vtrans]',
    helpGroup: 'PASS',
  }),
  protect: Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'WHAT',
    description:
      "stays whole: 'layer 0', '0-2', 'last', or an id that inspect --explain prints, e.g. layer.0.width",
    helpGroup: 'PASS',
  }),
  pattern: Flags.string({
    helpValue: 'PATTERN',
    description:
      'who attends to whom, for sparsify: window:1024+sinks:64, strided:8+local:4, dilated:2+reach:8, topk:16, mass:0.95, or a .json of patterns by block',
    helpGroup: 'PASS',
  }),
  'keep-mass': Flags.string({
    helpValue: 'SHARE',
    exclusive: ['pattern'],
    description:
      'patterns head by head, for sparsify: the smallest windows that keep this share of the attention seen on --data; heads that need all stay dense',
    helpGroup: 'PASS',
  }),
  paper: Flags.boolean({
    exclusive: ['criterion', 'allocation', 'recover', 'weigh'],
    description: 'AMP exactly as published: its scores, uniform, no re-fit',
    helpGroup: 'PASS',
  }),
}
