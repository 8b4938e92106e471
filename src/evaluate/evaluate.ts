/** One call for every metric; the metric that fits the model and the data is the default. */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { readModel } from '../model/model.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import { type RunOptions, runBatches } from '../runtime/batches.js'
import { compareEmbeddings, embed } from './embedding.js'
import type { MetricName } from './metric-name.js'
import { accuracy, hitRate, ndcg, ranksOf, rocAuc } from './metrics.js'
import { perplexity } from './perplexity.js'

export interface Measured {
  readonly metric: MetricName
  readonly value: number
  /** Predicted tokens, or rows. */
  readonly samples: number
}

export interface EvaluateOptions extends RunOptions {
  readonly batches: readonly Batch[]
  readonly metrics: readonly MetricName[]
  /** What `cosine` and `top10` compare with. */
  readonly reference?: Model | undefined
}

/** What can be measured here, judged by labels, outputs and the reference. */
export function defaultMetric(
  model: Model,
  batches: readonly Batch[],
  hasReference: boolean,
): MetricName {
  const dims = model.graph.outputs[0]?.type?.dims ?? []
  const last = dims.at(-1)
  if (batches[0]?.extras?.['labels'] && dims.length <= 2) {
    if (dims.length < 2 || last === 1) return 'roc-auc'
    // As many scores as there are candidates: one of them is right.
    return typeof last === 'number' ? 'accuracy' : 'ndcg@10'
  }
  const isText = (batches[0]?.ids.length ?? 0) > 0
  return hasReference && !(isText && dims.length === 3 && isVocabulary(model, last))
    ? 'cosine'
    : 'perplexity'
}

/** Whether the last axis of the output is that of the tokens. */
function isVocabulary(model: Model, last: unknown): boolean {
  const { vocabulary } = readModel(model.graph)
  return typeof last === 'number' && vocabulary !== undefined && last >= vocabulary
}

/** Errors: NO_LABELS, NO_REFERENCE and those of each metric. */
export async function evaluate(model: Model, options: EvaluateOptions): Promise<Measured[]> {
  const found: Measured[] = []
  const { batches, metrics, reference } = options
  if (metrics.includes('perplexity')) {
    const { value, tokens } = await perplexity(model, options)
    found.push({ metric: 'perplexity', value, samples: tokens })
  }
  if (metrics.some((metric) => metric === 'cosine' || metric === 'top10')) {
    if (!reference)
      throw new AttncError(
        'NO_REFERENCE',
        'usage',
        'cosine and top10 compare with a second model.',
        {
          suggestions: ['Give it with --reference.'],
        },
      )
    const own = await embed(model, batches, options)
    const { cosine, overlap } = compareEmbeddings(await embed(reference, batches, options), own, 10)
    if (metrics.includes('cosine'))
      found.push({ metric: 'cosine', value: cosine, samples: own.rows })
    if (metrics.includes('top10'))
      found.push({ metric: 'top10', value: overlap, samples: own.rows })
  }
  const byScore = metrics.filter((metric) =>
    ['accuracy', 'roc-auc', 'ndcg@10', 'hit-rate@10'].includes(metric),
  )
  if (byScore.length > 0) found.push(...(await measureScores(model, options, byScore)))
  return found
}

async function measureScores(
  model: Model,
  options: EvaluateOptions,
  metrics: readonly MetricName[],
): Promise<Measured[]> {
  const name = model.graph.outputs[0]?.name ?? ''
  const scores: number[] = []
  const labels: number[] = []
  let rows = 0
  await runBatches(model, options.batches, options, 'evaluating', (results, batch) => {
    const tensor = results[name] as RuntimeTensor
    rows += tensor.dims[0] ?? 0
    for (const score of numbersOf(tensor)) scores.push(score)
    const stated = batch.extras?.['labels']
    if (stated) labels.push(...Array.from(stated.data as ArrayLike<number>, Number))
  })
  const columns = scores.length / Math.max(rows, 1)
  return metrics.map((metric) => {
    if (labels.length !== rows)
      throw new AttncError(
        'NO_LABELS',
        'usage',
        `${metric} needs an array "labels" with one number a row: ${rows} rows, ${labels.length} labels.`,
        { suggestions: ['Add "labels" to the .npz, or choose another metric with --metric.'] },
      )
    if (metric === 'accuracy')
      return { metric, value: accuracy(scores, columns, labels), samples: rows }
    if (metric === 'ndcg@10' || metric === 'hit-rate@10') {
      const ranks = ranksOf(scores, columns, labels)
      return {
        metric,
        value: metric === 'ndcg@10' ? ndcg(ranks, 10) : hitRate(ranks, 10),
        samples: rows,
      }
    }
    const last = Array.from({ length: rows }, (_, row) => scores[(row + 1) * columns - 1] as number)
    return { metric, value: rocAuc(last, labels), samples: rows }
  })
}
