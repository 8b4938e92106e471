/**
 * Attention over blocks: a pattern for all, by block, or by head from calibration. The pass finds out which
 * blocks can be rewritten and what their masks say; the plan states both.
 */
import { readFileSync } from 'node:fs'
import { AttncError } from '../../src/errors.js'
import type { TransformerModel } from '../../src/model/model.js'
import { parseRatio } from '../../src/plan/numbers.js'
import type { ChosenPass, Pass, PassContext, PassFlags, Skipped } from '../../src/plan/pass.js'
import type { AttentionPatterns } from '../../src/plan/plan.js'
import { parseProtect } from '../../src/plan/protect.js'
import { assertRaisable, needs } from '../../src/rewrite/raise-opset.js'
import { type Examined, examine } from '../../src/sparse/examine.js'
import { parsePattern } from '../../src/sparse/pattern.js'
import { fuseDense } from './dense.js'
import { proposePatterns } from './propose.js'

/** Which keys attention sees (docs/passes/sparsify.md). */
export interface SparsifyOptions {
  /** One pattern for all blocks, or patterns by block (`attention.3`, or `default`); a list has one for each head. */
  readonly pattern?: string | Readonly<Record<string, string | readonly string[]>>
  /** Share of the attention seen on data that each head's pattern has to keep, where no pattern is given. */
  readonly keepMass?: number
  /** What stays dense: numbers of layers, keys of blocks. */
  readonly protect?: readonly (number | string)[]
}

/** Errors: PATTERN, NO_DATA, OPSET_TOO_OLD; of its decision NOTHING_SPARSIFIED. */
export function sparsify(options: SparsifyOptions): ChosenPass {
  const { pattern, keepMass, protect = [] } = options
  const byBlock = typeof pattern === 'string' ? { default: pattern } : pattern
  for (const text of Object.values(byBlock ?? {}).flat()) parsePattern(text)
  const skipped: Skipped[] = []
  return {
    name: 'sparsify',
    phase: 'sparsify',
    check({ view, batches }) {
      assertRaisable(view.graph, needs.sparse)
      if (!byBlock && keepMass === undefined) throw patternError()
      if (!byBlock && !batches) throw dataError()
      const isProtected = isAmong(protect)
      const { attention } = view
      if (
        attention.length > 0 &&
        attention.every((each, index) => isProtected(`attention.${index}`, each.layer))
      )
        throw protectedError()
      for (const key of Object.keys(byBlock ?? {}))
        if (key !== 'default' && !view.attention.some((_, index) => key === `attention.${index}`))
          throw blockError(key, view)
    },
    async decide(context) {
      const all = await examine(context.model, context.signal)
      const isProtected = isAmong(protect)
      const kept = all.filter(({ key, layer }) => !isProtected(key, layer))
      skipped.push(...skippedOf(kept))
      const able = await withSiblings(
        kept.filter(({ reason }) => reason === undefined),
        context,
      )
      if (able.length === 0) throw nothingError(kept)
      const patterns = byBlock
        ? new Map(able.flatMap(({ key }) => patternsOf(key, byBlock)))
        : await proposePatterns(context, able, keepMass ?? 1)
      const isSparse = ({ key }: Examined): boolean =>
        patterns.get(key)?.some((each) => each !== 'dense') ?? false
      const sparse = able.filter(isSparse)
      const stays = able.filter((each) => patterns.has(each.key) && !isSparse(each))
      const fused = stays.length > 0 ? await fuseDense(context, stays) : []
      const attention = able.flatMap(({ key, masks }): AttentionPatterns[] => {
        const own = sparse.some((each) => each.key === key) && patterns.get(key)
        const entry = own ? { block: key, patterns: own, masks } : undefined
        return entry ? [entry] : fused.filter(({ block }) => block === key)
      })
      if (attention.length === 0) throw denseError(keepMass)
      if (sparse.length > 0)
        context.log.info(
          `${sparse.length} of ${all.length} blocks of attention are rewritten over blocks of keys.`,
        )
      return { pass: 'sparsify', options, slices: [], attention }
    },
    skipped: () => skipped,
  }
}

const isAmong =
  (protect: readonly (number | string)[]) =>
  (key: string, layer: number): boolean =>
    protect.includes(key) || protect.includes(layer)

function patternsOf(
  key: string,
  given: NonNullable<Exclude<SparsifyOptions['pattern'], string>>,
): (readonly [string, readonly string[]])[] {
  const own = given[key] ?? given['default']
  return own === undefined ? [] : [[key, typeof own === 'string' ? [own] : own]]
}

/** Masks are left out only where every model of the folder says the same of them. */
async function withSiblings(able: readonly Examined[], context: PassContext): Promise<Examined[]> {
  let agreed = [...able]
  for (const sibling of context.siblings()) {
    const others = await examine(sibling, context.signal)
    agreed = agreed.map((each) => {
      const other = others.find(({ key }) => key === each.key)
      const isSame = JSON.stringify(other?.masks) === JSON.stringify(each.masks)
      return isSame ? each : { ...each, masks: undefined }
    })
  }
  return agreed
}

/** Cross-attention is none of this pass's business; all else that stays dense is said. */
const skippedOf = (all: readonly Examined[]): Skipped[] =>
  all.flatMap(({ key, layer, kind, reason }) =>
    reason === undefined || kind === 'cross' ? [] : [{ block: key, layer, reason }],
  )

interface SparsifyFlags {
  readonly pattern?: string
  readonly 'keep-mass'?: string
  readonly protect?: readonly string[]
}

export const sparsifyPass: Pass = {
  name: 'sparsify',
  summary:
    'lets attention skip blocks of keys: windows, sinks, strides, or the best blocks of each query',
  flags: ['pattern', 'keep-mass', 'protect'],
  read(flags: PassFlags, view) {
    const { pattern, 'keep-mass': mass, protect } = flags as SparsifyFlags
    return sparsify({
      ...(pattern !== undefined && {
        pattern: pattern.endsWith('.json') ? readFile(pattern) : pattern,
      }),
      ...(mass !== undefined && { keepMass: parseRatio(mass) }),
      protect: parseProtect(protect ?? [], view),
    })
  },
}

/** {"default": "window:512", "attention.3": ["dense", "window:64", …]}. Error: PATTERN_FILE. */
function readFile(path: string): Record<string, string | readonly string[]> {
  const refuse = (text: string, cause?: unknown): AttncError =>
    new AttncError('PATTERN_FILE', 'usage', `"${path}" holds no patterns: ${text}.`, {
      cause,
      suggestions: ['It looks like {"default": "window:512+sinks:64", "attention.3": "dense"}.'],
    })
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw refuse(cause instanceof SyntaxError ? 'it is no JSON' : 'it can’t be read', cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refuse('it is not an object')
  for (const [key, own] of Object.entries(value))
    if (
      typeof own !== 'string' &&
      !(Array.isArray(own) && own.every((each) => typeof each === 'string'))
    )
      throw refuse(`"${key}" is neither a pattern nor a list of them`)
  return value as Record<string, string | readonly string[]>
}

const patternError = (): AttncError =>
  new AttncError('NO_PATTERN', 'usage', 'There is no pattern for attention to follow.', {
    suggestions: [
      '--pattern window:1024+sinks:64',
      '--keep-mass 0.95 --data FILE finds one for each head.',
    ],
  })

const dataError = (): AttncError =>
  new AttncError(
    'NO_DATA',
    'usage',
    '--keep-mass looks at attention on data, and none was given.',
    {
      suggestions: ['Give some with --data.', 'Without data: --pattern window:1024+sinks:64.'],
    },
  )

const blockError = (key: string, view: TransformerModel): AttncError =>
  new AttncError(
    'PATTERN_BLOCK',
    'usage',
    `A pattern is given for "${key}"; the model has ${view.attention.length} blocks of attention, from "attention.0" on.`,
  )

const protectedError = (): AttncError =>
  new AttncError(
    'NOTHING_SPARSIFIED',
    'partial',
    'Every block of attention is protected, so all of them stay dense.',
    { suggestions: ['Protect less with --protect; "attnc inspect" lists the layers.'] },
  )

function nothingError(all: readonly Examined[]): AttncError {
  const reasons = [...new Set(all.flatMap(({ reason }) => reason ?? []))].join('; ')
  const why = all.length === 0 ? 'none was recognised in it' : reasons
  return new AttncError(
    'NOTHING_SPARSIFIED',
    'partial',
    `No attention of this model can be rewritten${why && `: ${why}`}.`,
    { suggestions: ['Run "attnc inspect --explain" to see how it was read.'] },
  )
}

const denseError = (keepMass: number | undefined): AttncError =>
  new AttncError(
    'NOTHING_SPARSIFIED',
    'partial',
    keepMass === undefined
      ? 'Every block was told to stay dense, and no operator was faster than what is there.'
      : `Every head needs all its keys to keep ${keepMass} of its attention, and no operator was faster than what is there.`,
    { suggestions: ['Give longer --sequence-length, or a lower --keep-mass.'] },
  )
