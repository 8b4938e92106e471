/** What was probably meant by a word that is none of those that are known. */

/** The known words that are the fewest letters away, at most two. */
export function nearestOf(typed: string, known: readonly string[]): string[] {
  const near = known
    .map((word) => ({ word, distance: editDistance(word, typed) }))
    .filter(({ distance, word }) => distance <= 2 && distance < word.length)
  const least = Math.min(...near.map(({ distance }) => distance))
  return near.filter(({ distance }) => distance === least).map(({ word }) => word)
}

/** Letters to insert, remove, replace or swap with the next. */
export function editDistance(one: string, other: string): number {
  const rows = [Array.from({ length: other.length + 1 }, (_, i) => i)]
  for (let i = 1; i <= one.length; i++) {
    const row = [i]
    for (let j = 1; j <= other.length; j++) {
      const at = (a: number, b: number): number => (a === i ? row[b] : rows[a]?.[b]) as number
      const isSame = one[i - 1] === other[j - 1]
      const isSwapped = one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
      row[j] = Math.min(
        at(i - 1, j) + 1,
        at(i, j - 1) + 1,
        at(i - 1, j - 1) + (isSame ? 0 : 1),
        isSwapped && i > 1 && j > 1 ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    rows.push(row)
  }
  return rows.at(-1)?.at(-1) ?? 0
}
