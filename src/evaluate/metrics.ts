/** Metrics of scores against labels, row by row; one function a metric, plain arrays in. */

/** 1 for each row whose largest score is at the label, else 0. `scores` [rows, classes]. */
export const hits = (
  scores: ArrayLike<number>,
  classes: number,
  labels: readonly number[],
): number[] =>
  labels.map((label, row) => {
    let best = 0
    for (let c = 1; c < classes; c++)
      if ((scores[row * classes + c] as number) > (scores[row * classes + best] as number)) best = c
    return best === label ? 1 : 0
  })

/**
 * Area under the ROC curve by rank sums (Mann–Whitney); ties count half. NaN with one class only. With
 * weights, each row counts so many times.
 */
export function rocAuc(
  scores: readonly number[],
  labels: readonly number[],
  weights?: ArrayLike<number>,
): number {
  const order = scores.map((score, row) => ({ score, row }))
  order.sort((a, b) => a.score - b.score)
  let positives = 0
  let negatives = 0
  let pairs = 0
  for (let from = 0; from < order.length; ) {
    const tied = { positives: 0, negatives: 0 }
    const { score } = order[from] as { score: number }
    do {
      const row = order[from++]?.row as number
      tied[(labels[row] ?? 0) > 0 ? 'positives' : 'negatives'] += weights?.[row] ?? 1
    } while (order[from]?.score === score)
    pairs += tied.positives * (negatives + tied.negatives / 2)
    positives += tied.positives
    negatives += tied.negatives
  }
  return pairs / (positives * negatives)
}

/** 1-based rank of each row's label among its `scores` [rows, candidates]; ties count half. */
export function ranksOf(
  scores: ArrayLike<number>,
  candidates: number,
  labels: readonly number[],
): number[] {
  return labels.map((label, row) => {
    const own = scores[row * candidates + label] as number
    let rank = 1
    for (let c = 0; c < candidates; c++) {
      if (c === label) continue
      const other = scores[row * candidates + c] as number
      rank += other > own ? 1 : other === own ? 0.5 : 0
    }
    return rank
  })
}

/** 1 for each row that is within the first k. */
export const hitsWithin = (ranks: readonly number[], k: number): number[] =>
  ranks.map((rank) => (rank <= k ? 1 : 0))

/** 1/log₂(rank + 1) of each row within the first k; NDCG is the mean. */
export const gains = (ranks: readonly number[], k: number): number[] =>
  ranks.map((rank) => (rank <= k ? 1 / Math.log2(rank + 1) : 0))
