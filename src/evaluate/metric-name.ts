/** What can be measured, by the names that flags and conditions use. */

export const metricNames = [
  'perplexity',
  'accuracy',
  'roc-auc',
  'ndcg@10',
  'hit-rate@10',
  'cosine',
  'top10',
] as const
/** A metric that `evaluate` can measure. */
export type MetricName = (typeof metricNames)[number]

/** Metrics that compare with a second model. */
export const isComparing = (metric: MetricName): boolean =>
  metric === 'cosine' || metric === 'top10'

/** Metrics of which less is better. */
export const lowerIsBetter: ReadonlySet<MetricName> = new Set<MetricName>(['perplexity'])
