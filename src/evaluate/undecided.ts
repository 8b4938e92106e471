/** What becomes of a condition whose limit lies within the noise; apart from verdict.ts, so that flags load nothing. */

export const undecidedRules = ['pass', 'fail', 'measured'] as const
/** What becomes of a condition that noise leaves open. */
export type UndecidedRule = (typeof undecidedRules)[number]
