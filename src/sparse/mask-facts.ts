/** What is known of the masks of a block, as plans state it. */
export interface MaskFacts {
  readonly causal: boolean
  /** Keys so many positions away or more are hidden. */
  readonly window?: number | undefined
  /** Input [batch, keys] whose zeros hide keys. */
  readonly padding?: string | undefined
  /** Masks, counted from the scores on, that say more than that, and stay. */
  readonly kept: readonly number[]
}
