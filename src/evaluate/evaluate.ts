/** One call for every metric; the metric that fits the model and the data is the default. */
import { assertBatchesFit } from '../bench/room.js'
import { answersTokens } from '../data/answer-sizes.js'
import type { Batch } from '../data/batch.js'
import { type LabelNeeds, noLabels, numbersOfLabels, readLabels } from '../data/labels.js'
import { assertSameTexts } from '../data/same-texts.js'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { readModel } from '../model/model.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import { type RunOptions, runBatches } from '../runtime/batches.js'
import { compareEmbeddings, embed, findEmbedding } from './embedding.js'
import { isComparing, type MetricName } from './metric-name.js'
import { gains, hits, hitsWithin, ranksOf } from './metrics.js'
import { findLogits, noLogits, perplexity } from './perplexity.js'
import { refuseNaN } from './refuse-nan.js'
import { areaOf, meanOf, type Sampled } from './sampled.js'

/** A metric of one model. */
export interface Measured {
  readonly metric: MetricName
  readonly value: number
  /** Predicted tokens, or rows. */
  readonly samples: number
}

/** What was measured, with what it was measured on: intervals need that. */
export interface Evaluated extends Measured {
  readonly sampled: Sampled
}

/** On which data a model is measured, and by what. */
export interface EvaluateOptions extends RunOptions {
  readonly batches: readonly Batch[]
  readonly metrics: readonly MetricName[]
  /** What `cosine` and `top10` compare with. */
  readonly reference?: Model | undefined
  /** The same data as the reference numbers tokens, where that differs. */
  readonly referenceBatches?: readonly Batch[] | undefined
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
  // Without labels too: what is missing is said of the metric that fits.
  if (!hasReference && dims.length > 0 && dims.length <= 2)
    return last === 1 || dims.length < 2 ? 'roc-auc' : 'accuracy'
  const [output] = model.graph.outputs
  const isText =
    (batches[0]?.ids.length ?? 0) > 0 && output && answersTokens(model, output, batches)
  return hasReference && !(isText && dims.length === 3 && isVocabulary(model, last))
    ? 'cosine'
    : 'perplexity'
}

/** Whether the last axis of the output is that of the tokens. */
function isVocabulary(model: Model, last: unknown): boolean {
  const { vocabulary } = readModel(model.graph)
  return typeof last === 'number' && vocabulary !== undefined && last >= vocabulary
}

/** Metrics of scores against labels. */
const labelled: ReadonlySet<MetricName> = new Set<MetricName>([
  'accuracy',
  'roc-auc',
  'ndcg@10',
  'hit-rate@10',
])

export interface MetricNeeds {
  readonly batches: readonly Batch[]
  readonly metrics: readonly MetricName[]
  readonly hasReference: boolean
}

/**
 * Refuses what can't be measured on these data, before anything runs. Errors: NO_LABELS,
 * LABEL_RANGE, ONE_CLASS, NO_LOGITS, NO_TOKENS, OTHER_TOKENS, NO_EMBEDDING, NO_REFERENCE.
 */
export function checkMetrics(model: Model, { batches, metrics, hasReference }: MetricNeeds): void {
  for (const metric of metrics)
    if (labelled.has(metric)) {
      const labels = readLabels(batches, labelNeeds(metric, classesOf(model)))
      if (metric === 'roc-auc') assertTwoClasses(labels)
    } else if (metric === 'perplexity') {
      const logits = findLogits(model)
      const { type } = logits
      if ((batches[0]?.ids.length ?? 0) === 0) throw noTokens()
      if (!answersTokens(model, logits, batches)) throw otherTokens(logits.name)
      const last = type?.dims?.at(-1)
      const hasScore = (id: number): boolean => typeof last !== 'number' || id < last
      if (!batches.every(({ ids }) => ids.every((row) => row.every(hasScore))))
        throw noLogits(model)
    } else {
      if (!hasReference) throw noReference()
      findEmbedding(model)
    }
}

const labelNeeds = (metric: MetricName, classes: number | undefined): LabelNeeds => ({
  what: metric,
  // Of two classes any two numbers say which.
  classes: metric === 'roc-auc' ? undefined : classes,
  otherwise: 'compare with another model by --reference',
})

/** Scores of a row, where the model states how many. */
function classesOf({ graph }: Model): number | undefined {
  const last = graph.outputs[0]?.type?.dims?.at(-1)
  return typeof last === 'number' ? last : undefined
}

/** How often a row of one class is above one of the other can't be asked of one class. */
function assertTwoClasses(labels: readonly number[]): void {
  const positive = labels.filter((label) => label > 0).length
  if (positive > 0 && positive < labels.length) return
  throw new AttncError(
    'ONE_CLASS',
    'usage',
    `roc-auc needs rows of both classes; of ${labels.length} labels, ${positive} are positive.`,
    { suggestions: ['Give more or other samples, or choose another metric with --metric.'] },
  )
}

const otherTokens = (output: string): AttncError =>
  new AttncError(
    'OTHER_TOKENS',
    'usage',
    `Perplexity needs scores for the tokens of the data; "${output}" has as many as another input.`,
    { suggestions: ['Compare with another model by --reference and --metric cosine.'] },
  )

const noTokens = (): AttncError =>
  new AttncError('NO_TOKENS', 'usage', 'Perplexity needs tokens, and the data are none.', {
    suggestions: ['Give a text, or arrays of ids, or choose another metric with --metric.'],
  })

const noReference = (): AttncError =>
  new AttncError('NO_REFERENCE', 'usage', 'cosine and top10 compare with a second model.', {
    suggestions: ['Give it with --reference.'],
  })

/** Errors: those of `checkMetrics`, TOO_LITTLE_MEMORY, NOT_A_NUMBER, TOKENIZERS_DIFFER. */
export async function evaluate(model: Model, options: EvaluateOptions): Promise<Evaluated[]> {
  const found: Evaluated[] = []
  const { batches, metrics, reference } = options
  checkMetrics(model, { batches, metrics, hasReference: reference !== undefined })
  assertBatchesFit(model, batches, options.provider)
  if (metrics.includes('perplexity')) {
    const { value, tokens, sampled } = await perplexity(model, options)
    found.push({ metric: 'perplexity', value, samples: tokens, sampled })
  }
  if (reference && metrics.some(isComparing)) {
    const { referenceBatches: its = batches } = options
    if (its !== batches) assertSameTexts(batches, its)
    const own = await embed(model, batches, options)
    const { cosine, overlap } = compareEmbeddings(await embed(reference, its, options), own, 10)
    if (metrics.includes('cosine')) found.push(evaluated('cosine', meanOf(cosine)))
    if (metrics.includes('top10')) found.push(evaluated('top10', meanOf(overlap)))
  }
  const byScore = metrics.filter((metric) => labelled.has(metric))
  if (byScore.length > 0) found.push(...(await measureScores(model, options, byScore)))
  return found
}

async function measureScores(
  model: Model,
  options: EvaluateOptions,
  metrics: readonly MetricName[],
): Promise<Evaluated[]> {
  const name = model.graph.outputs[0]?.name ?? ''
  const scores: number[] = []
  const labels: number[] = []
  let rows = 0
  await runBatches(model, options.batches, options, 'evaluating', (results, batch) => {
    const tensor = results[name] as RuntimeTensor
    for (const score of refuseNaN(name, numbersOf(tensor), rows)) scores.push(score)
    rows += tensor.dims[0] ?? 0
    const stated = batch.extras?.['labels']
    if (stated) for (const label of numbersOfLabels(stated)) labels.push(label)
  })
  const columns = scores.length / Math.max(rows, 1)
  if (labels.length !== rows)
    throw noLabels(
      labelNeeds(metrics[0] as MetricName, columns),
      `the model gives ${rows} rows, and there are ${labels.length} labels`,
    )
  if (classesOf(model) === undefined)
    for (const metric of metrics) readLabels(options.batches, labelNeeds(metric, columns))
  const ranks = ranksOf(scores, columns, labels)
  const last = Array.from({ length: rows }, (_, row) => scores[(row + 1) * columns - 1] as number)
  const samplings: Partial<Record<MetricName, () => Sampled>> = {
    accuracy: () => meanOf(hits(scores, columns, labels), true),
    'hit-rate@10': () => meanOf(hitsWithin(ranks, 10), true),
    'ndcg@10': () => meanOf(gains(ranks, 10)),
    'roc-auc': () => areaOf(last, labels),
  }
  return metrics.flatMap((metric) => {
    const sampled = samplings[metric]?.()
    return sampled ? [evaluated(metric, sampled)] : []
  })
}

const evaluated = (metric: MetricName, sampled: Sampled): Evaluated => ({
  metric,
  value: sampled.weighted(new Float64Array(sampled.count).fill(1)),
  samples: sampled.count,
  sampled,
})
