/** Metrics of scores against labels; one function a metric, plain arrays in. */

/** Share of rows whose largest score is at the label. `scores` [rows, classes]. */
export function accuracy(
  scores: ArrayLike<number>,
  classes: number,
  labels: readonly number[],
): number {
  let right = 0
  for (const [row, label] of labels.entries()) {
    let best = 0
    for (let c = 1; c < classes; c++)
      if ((scores[row * classes + c] as number) > (scores[row * classes + best] as number)) best = c
    if (best === label) right++
  }
  return right / labels.length
}

/** Area under the ROC curve by rank sums (Mann–Whitney); ties count half. NaN with one class only. */
export function rocAuc(scores: readonly number[], labels: readonly number[]): number {
  const order = scores.map((score, index) => ({ score, label: labels[index] as number }))
  order.sort((a, b) => a.score - b.score)
  let positives = 0
  let rankSum = 0
  for (let from = 0; from < order.length; ) {
    let to = from
    while (to < order.length && order[to]?.score === order[from]?.score) to++
    const rank = (from + 1 + to) / 2
    for (; from < to; from++)
      if ((order[from]?.label ?? 0) > 0) {
        positives++
        rankSum += rank
      }
  }
  const negatives = order.length - positives
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives)
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

export const hitRate = (ranks: readonly number[], k: number): number =>
  ranks.filter((rank) => rank <= k).length / ranks.length

/** Mean of 1/log₂(rank + 1) of what is within the first k. */
export const ndcg = (ranks: readonly number[], k: number): number =>
  ranks.reduce((sum, rank) => sum + (rank <= k ? 1 / Math.log2(rank + 1) : 0), 0) / ranks.length
