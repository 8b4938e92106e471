/** Tokens that the data don't have go, from tables, scores, tokenizer and configs. */

import type { Batch } from '../../src/data/batch.js'
import { AttncError } from '../../src/errors.js'
import { parseShare } from '../../src/plan/numbers.js'
import type { ChosenPass, Pass, PassContext, PassFlags } from '../../src/plan/pass.js'
import type { PlanPart } from '../../src/plan/plan.js'
import { vocabularyError } from '../../src/vocabulary/cut-vocabulary.js'
import { findVocabulary } from '../../src/vocabulary/find-vocabulary.js'
import { tokensThatStay } from '../../src/vocabulary/vocabulary-files.js'

/** Which tokens stay (docs/passes/vocabulary.md). */
export interface VocabularyOptions {
  /** How often the data have to have a token for it to stay. */
  readonly minCount: number
  /** Of those, the most frequent that make this share of the data. */
  readonly coverage: number
}

const defaults: VocabularyOptions = { minCount: 1, coverage: 1 }

/** Errors: NO_DATA, VOCABULARY; of its decision NO_TOKENIZER, TOKENIZER_KIND, NOTHING_REMOVED. */
export function vocabulary(given: Partial<VocabularyOptions> = {}): ChosenPass {
  const options = { ...defaults, ...given }
  return {
    name: 'vocabulary',
    phase: 'vocabulary',
    check({ view, batches }) {
      const found = findVocabulary(view)
      if (typeof found === 'string') throw vocabularyError(found)
      if (!batches?.some(({ ids }) => ids.length > 0)) throw noData()
    },
    decide: async (context) => cutTokens(context, options),
  }
}

function cutTokens(context: PassContext, options: VocabularyOptions): PlanPart {
  const { view, source, training, batches, log } = context
  const found = findVocabulary(view)
  if (typeof found === 'string') throw vocabularyError(found)
  const counts = countTokens(training ?? batches ?? [])
  const wanted = frequent(counts, options)
  const keep = tokensThatStay(source.location, wanted, found.size)
  const { size } = found
  if (keep.length >= size) throw nothingError(size)
  log.info(
    `${wanted.length} of ${size} tokens are asked for by the data; ${keep.length - wanted.length} more stay with them: parts, characters and special tokens.`,
  )
  return { pass: 'vocabulary', options, slices: [], vocabulary: { size, keep } }
}

function countTokens(batches: readonly Batch[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const { ids } of batches)
    for (const row of ids) for (const id of row) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

/** The most frequent first; of the same number the smaller id. */
function frequent(counts: ReadonlyMap<number, number>, options: VocabularyOptions): number[] {
  const sorted = [...counts]
    .filter(([, count]) => count >= options.minCount)
    .sort((a, b) => b[1] - a[1] || a[0] - b[0])
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const kept: number[] = []
  let seen = 0
  for (const [id, count] of sorted) {
    if (seen >= options.coverage * total) break
    kept.push(id)
    seen += count
  }
  return kept
}

const noData = (): AttncError =>
  new AttncError('NO_DATA', 'usage', 'Which tokens stay is read from text, and none was given.', {
    suggestions: ['Give all the text that counts with --data: .txt, .md or .jsonl.'],
  })

const nothingError = (size: number): AttncError =>
  new AttncError('NOTHING_REMOVED', 'partial', `All ${size} tokens have to stay.`, {
    suggestions: ['Ask for less with --coverage 0.999 or --min-count 2.'],
  })

/** Values of its flags, where they were given. */
interface VocabularyFlags {
  readonly 'min-count'?: number
  readonly coverage?: string
}

export const vocabularyPass: Pass = {
  name: 'vocabulary',
  summary: 'keeps the tokens that the data have, and rewrites tokenizer and configs',
  flags: ['min-count', 'coverage'],
  read(flags: PassFlags) {
    const { 'min-count': minCount, coverage } = flags as VocabularyFlags
    return vocabulary({
      ...(minCount !== undefined && { minCount }),
      ...(coverage !== undefined && { coverage: parseShare('coverage', coverage) }),
    })
  },
}
