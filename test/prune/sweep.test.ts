/** The frontier: points that are kept, taken up again, and a knee where the curve bends. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import Sweep from '../../commands/sweep.js'
import { type Sweep as Frontier, findKnee } from '../../src/prune/sweep.js'
import { example, runCommand, runJson } from '../commands/run-command.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const point = (ratio: number, value: number, metric: 'accuracy' | 'perplexity' = 'accuracy') => ({
  ratio,
  metric,
  value,
  parameters: 1000 - 500 * ratio,
})

describe('the knee', () => {
  it('lies where quality begins to fall faster', () => {
    const flat = [0, 0.1, 0.2, 0.3].map((ratio) => point(ratio, 0.9))
    expect(findKnee([...flat, point(0.4, 0.5), point(0.5, 0.1)])).toBe(0.3)
    const loss = [0, 0.2, 0.4, 0.6].map((ratio, i) =>
      point(ratio, [5, 5, 6, 50][i] ?? 0, 'perplexity'),
    )
    expect(findKnee(loss)).toBe(0.4)
  })

  it('is never an end, and is missing where there is nothing between', () => {
    expect(findKnee([point(0, 1), point(0.5, 0)])).toBeNull()
    const values = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
      minLength: 3,
      maxLength: 9,
    })
    fc.assert(
      fc.property(values, (all) => {
        const knee = findKnee(all.map((value, i) => point(i / 10, value)))
        expect(knee).toBeGreaterThan(0)
        expect(knee).toBeLessThan((all.length - 1) / 10)
      }),
      { seed: 5 },
    )
  })
})

describe('sweep', () => {
  it('goes on where it was, and refuses the folder of another sweep', async () => {
    const output = join(folder, 'frontier')
    const cheap = ['--criterion', 'magnitude', '--recover', 'none', '--eval-samples', '2']
    const argv = [example, ...cheap, '--eval', join(example, 'eval.txt'), '-o', output]
    const first = await runJson<Frontier>(Sweep, [...argv, '--ratios', '0.3'])
    expect(first.json).toMatchObject({
      knee: null,
      points: [
        { ratio: 0, plan: null },
        { ratio: 0.3, plan: 'plan-0.3.json' },
      ],
    })
    const before = statSync(join(output, 'plan-0.3.json')).mtimeMs
    const { json } = await runJson<Frontier>(Sweep, [...argv, '--ratios', '10%,0.3'])
    expect(json.points.map(({ ratio }) => ratio)).toEqual([0, 0.1, 0.3])
    expect(json.knee).toBe(0.1)
    expect(json.points[2]).toEqual(first.json.points[1])
    expect(statSync(join(output, 'plan-0.3.json')).mtimeMs).toBe(before)
    expect(readdirSync(output).sort()).toEqual(['plan-0.1.json', 'plan-0.3.json', 'sweep.json'])
    expect(JSON.parse(readFileSync(join(output, 'sweep.json'), 'utf8'))).toEqual(json)
    const other = await runCommand(Sweep, [...argv, '--scope', 'heads', '--json'])
    expect(other.exitCode).toBe(2)
    expect(JSON.parse(other.stdout)).toMatchObject({ error: { code: 'SWEEP_OTHER' } })
  }, 240_000)
})
