/** What other commands said, read back: told apart, and refused with a next step where it is damaged. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { AttncError } from '../../src/errors.js'
import { parseRun, readRunFile } from '../../src/report/run-file.js'
import { reportOf } from './report-of.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-runs-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const totals = { parameters: 10, bytes: 40, flopsPerToken: 20 }
const prune = {
  before: totals,
  after: totals,
  rows: [],
  provider: 'cpu',
  data: '/home/someone/text.txt',
  check: { largest: 1e-7, bound: 1e-3 },
  metrics: [{ metric: 'perplexity', before: 6, value: 7, samples: 10 }],
  targets: [{ target: 'params=0.8x', before: 10, asked: 8, reached: 8, share: 0.8, met: true }],
  conditions: [{ condition: 'perplexity>8', missed: false, message: 'perplexity 7' }],
  skipped: [{ block: 'attention.0', layer: 0, reason: 'one head' }],
}
const spread = { median: 2, firstQuartile: 1, thirdQuartile: 3, runs: 5 }
const entry = { parameters: 10, bytes: 40, prefill: spread, decode: null, memory: null }
const bench = {
  format: 1,
  provider: 'cpu',
  threads: 2,
  processor: 'a processor',
  shape: { input_ids: [1, 8] },
  models: [entry, entry],
  ratios: { prefill: { ratio: 1, low: 0.9, high: 1.1 }, decode: null },
}
const train = { curve: [{ update: 1, training: 2, heldOut: 3 }], updates: 1, before: 3, best: 2 }

const kinds = { prune, bench, train, sweep: reportOf({}).frontier }

describe('a run', () => {
  it.each(Object.entries(kinds))('of %s is told by what is in it', (kind, value) => {
    const path = join(folder, `${kind}.json`)
    writeFileSync(path, JSON.stringify(value))
    expect(readRunFile(path).kind).toBe(kind)
  })

  it('keeps what was said of quality, targets, conditions and blocks, and no folders', () => {
    const { run } = parseRun(prune, 'test')
    expect(run).toMatchObject({
      data: 'text.txt',
      check: prune.check,
      quality: [{ metric: 'perplexity', before: 6, after: 7, samples: 10 }],
      targets: [{ target: 'params=0.8x', kind: 'params', isMet: true }],
      conditions: [{ isMissed: false }],
      skipped: prune.skipped,
    })
  })

  it('that is not there is refused', () => {
    expect(() => readRunFile(join(folder, 'none.json'))).toThrow(/There is no file/)
  })

  it.each<[string, unknown]>([
    ['a list', []],
    ['null', null],
    ['an empty object', {}],
    ['a failure', { error: { code: 'NO_DATA', message: 'none was given' } }],
    ['a sweep without a metric', { points: [{ ...totals, ratio: 0, value: 1 }], knee: null }],
    ['a sweep without points', { points: [], knee: null }],
    ['a bench of one model', { ...bench, models: [entry], ratios: null }],
    ['a bench with words for times', { ...bench, models: [entry, { ...entry, prefill: 'fast' }] }],
    ['totals that are texts', { before: { ...totals, bytes: '40' }, after: totals }],
  ])('%s is refused with a next step', (_, value) => {
    const error = attempt(() => parseRun(value, 'run.json'))
    expect(error?.code).toBe('RUN_FORMAT')
    expect(error?.suggestions).not.toEqual([])
  })

  it('that is cut off anywhere is refused', () => {
    const path = join(folder, 'cut.json')
    const texts = Object.values(kinds).map((value) => JSON.stringify(value))
    fc.assert(
      fc.property(
        fc.constantFrom(...texts),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (text, share) => {
          writeFileSync(path, text.slice(0, Math.floor(text.length * share)))
          expect(attempt(() => readRunFile(path))?.code).toBe('RUN_FORMAT')
        },
      ),
      { seed: 3, numRuns: 60 },
    )
  })

  it('is read or refused whatever it holds, and never breaks', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.values(kinds)), (value, known) => {
        const keys = Object.keys(known ?? {})
        for (const key of keys) {
          const error = attempt(() => parseRun({ ...known, [key]: value }, 'run.json'))
          if (error) expect(error.code).toBe('RUN_FORMAT')
        }
      }),
      { seed: 5, numRuns: 60 },
    )
  })
})

function attempt(action: () => unknown): AttncError | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    if (error instanceof AttncError) return error
    throw error
  }
}
