/**
 * Perplexity of a language model: exp of the mean negative log-likelihood of every token of a window
 * but the first, given those before it in the window. The likelihoods are taken inside the session,
 * so that logits (vocabulary × tokens) never leave it.
 */

import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { edit, type GraphEdit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, Value } from '../graph/graph.js'
import { addReduce, addUnsqueeze } from '../graph/versioned-nodes.js'
import { type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { type RunOptions, runBatches } from '../runtime/batches.js'
import { refuseNaN } from './refuse-nan.js'
import { perplexityOf, type Sampled } from './sampled.js'

const TARGETS = 'attnc.targets'

export interface PerplexityOptions extends RunOptions {
  readonly batches: readonly Batch[]
}

export interface Perplexity {
  readonly value: number
  /** Tokens that were predicted. */
  readonly tokens: number
  readonly windows: number
  readonly sampled: Sampled
}

/** Tokens next to each other are easy or hard together; this many apart they hardly are. */
const stretch = 64

export async function perplexity(model: Model, options: PerplexityOptions): Promise<Perplexity> {
  const logits = findLogits(model)
  const copy = extractSubgraph(model.graph, new Map(), [logits])
  const output = edit(copy.graph, 'attnc.loss', (change) => {
    const loss = addLikelihood(change, copy.graph.values.get(logits.name) as Value)
    for (const each of [...copy.graph.outputs]) change.hide(each)
    change.expose(loss)
    return loss.name
  })
  let sum = 0
  let tokens = 0
  let windows = 0
  const samples: { loss: number; tokens: number }[] = []
  await runBatches(
    copy,
    options.batches,
    options,
    'evaluating',
    (results, { ids }) => {
      const losses = results[output]?.data as Float32Array
      const before = tokens
      const length = Math.max(...ids.map((row) => row.length))
      for (const [row, own] of ids.entries())
        for (let i = 0; i + 1 < own.length; i++) {
          const loss = losses[row * length + i] as number
          if (i % stretch === 0) samples.push({ loss: 0, tokens: 0 })
          const sample = samples.at(-1) as (typeof samples)[number]
          sample.loss += loss
          sample.tokens++
          sum += loss
          tokens++
        }
      // Padding may say what it likes: what counts is what was added up.
      refuseNaN(logits.name, [sum], before, 'tokens')
      windows += ids.length
    },
    feedTargets,
  )
  const sampled = perplexityOf(
    samples.map(({ loss }) => loss),
    samples.map((sample) => sample.tokens),
  )
  return { value: Math.exp(sum / tokens), tokens, windows, sampled }
}

/** The output [batch, sequence, vocabulary]: the widest of three axes. */
export function findLogits(model: Model): Value {
  const candidates = model.graph.outputs.filter((output) => {
    const { dataType, dims } = output.type ?? {}
    return dims?.length === 3 && dataType?.startsWith('float')
  })
  const [first] = candidates
  if (first) return first
  throw noLogits(model)
}

export const noLogits = ({ graph }: Model): AttncError =>
  new AttncError(
    'NO_LOGITS',
    'usage',
    `Perplexity needs an output of [batch, sequence, vocabulary]; the model has ${graph.outputs
      .map(({ name, type }) => `"${name}" [${type?.dims ?? '?'}]`)
      .join(', ')}.`,
    {
      suggestions: [
        'Compare with another model by --reference, or choose a metric that fits with --metric.',
      ],
    },
  )

/** What a graph with `addLikelihood` is fed beside its inputs: the next token of each. */
export function feedTargets({ ids }: Batch): Record<string, RuntimeTensor> {
  const length = Math.max(...ids.map((row) => row.length))
  const next = ids.flatMap((row) => Array.from({ length }, (_, i) => row[i + 1] ?? 0))
  return { [TARGETS]: tensorOf('int64', [ids.length, length], next) }
}

/** −log softmax at the targets, [batch, sequence, 1]: logsumexp(logits) − logits[target]. */
export function addLikelihood(change: GraphEdit, logits: Value): Value {
  const targets = change.addInput(TARGETS, 'int64', ['batch', 'sequence'])
  const single =
    logits.type?.dataType === 'float32'
      ? logits
      : change.add('Cast', [logits], { attributes: { to: { kind: 'int', value: 1n } } })
  const chosen = change.add('GatherElements', [single, addUnsqueeze(change, targets, [-1])], {
    attributes: { axis: { kind: 'int', value: -1n } },
  })
  const top = addReduce(change, 'ReduceMax', single, [-1])
  const shifted = change.add('Exp', [change.add('Sub', [single, top])])
  const total = change.add('Log', [addReduce(change, 'ReduceSum', shifted, [-1])])
  return change.add('Sub', [change.add('Add', [total, top]), chosen])
}
