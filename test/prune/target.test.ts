/** Targets: how they are read, that they are met by as little as can be, and what is refused at once. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { amp } from '../../passes/amp/index.js'
import type { AmpOptions } from '../../passes/amp/options.js'
import { AttncError } from '../../src/errors.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { decidePlan } from '../../src/prune/decide.js'
import { prune } from '../../src/prune/prune.js'
import { parseTarget, parseTargets } from '../../src/prune/target.js'
import { targetsJson } from '../../src/prune/target-scale.js'
import { example } from '../commands/run-command.js'
import { sharedModel } from '../shared-models.js'

describe('a target', () => {
  it.each([
    ['params=0.8x', 'params', 0.8, true],
    ['params=80%', 'params', 0.8, true],
    ['params=.5×', 'params', 0.5, true],
    ['params=100M', 'params', 1e8, false],
    ['params=1.5B', 'params', 1.5e9, false],
    ['params = 80000', 'params', 80_000, false],
    ['size=50MB', 'size', 5e7, false],
    ['size=50MiB', 'size', 50 * 2 ** 20, false],
    ['flops=2.5G', 'flops', 2.5e9, false],
    ['kv=10kB', 'kv', 1e4, false],
    ['latency=12ms', 'latency', 12, false],
    ['latency=1.5s', 'latency', 1500, false],
    ['throughput=1.4x', 'throughput', 1.4, true],
    ['throughput=140%', 'throughput', 1.4, true],
    ['throughput=5k/s', 'throughput', 5000, false],
    ['memory=200MB', 'memory', 2e8, false],
  ])('is read: %s', (text, kind, limit, isShare) => {
    const target = parseTarget(text)
    expect(target).toMatchObject({ text, kind, isShare })
    expect(target.limit).toBeCloseTo(limit, 9)
  })

  it.each([
    ['latency=0.7x', {}],
    ['latency=0.7x@seq=64', { sequenceLength: 64 }],
    ['latency=0.7x@batch=2, seq=512', { batchSize: 2, sequenceLength: 512 }],
  ])('has a shape: %s', (text, shape) => expect(parseTarget(text).shape).toEqual(shape))

  it.each([
    ['', 'TARGET_KIND'],
    ['weight=0.8x', 'TARGET_KIND'],
    ['0.8x', 'TARGET_KIND'],
    ['params', 'TARGET_FORMAT'],
    ['params=', 'TARGET_FORMAT'],
    ['params=small', 'TARGET_FORMAT'],
    ['params=-1', 'TARGET_FORMAT'],
    ['params=10MB', 'TARGET_FORMAT'],
    ['size=10', 'TARGET_FORMAT'],
    ['latency=10', 'TARGET_FORMAT'],
    ['params=0.8x@seq=3', 'TARGET_FORMAT'],
    ['latency=0.8x@seq=0', 'TARGET_FORMAT'],
    ['latency=0.8x@tokens=3', 'TARGET_FORMAT'],
    ['latency=0.8x@seq=3@batch=1', 'TARGET_FORMAT'],
    ['params=1x', 'TARGET_RANGE'],
    ['params=120%', 'TARGET_RANGE'],
    ['params=0', 'TARGET_RANGE'],
    ['throughput=0.8x', 'TARGET_RANGE'],
    ['params=-20%', 'TARGET_FORMAT'],
    ['throughput=12ms', 'TARGET_FORMAT'],
  ])('is refused: "%s"', (text, code) => {
    expect(() => parseTarget(text)).toThrow(expect.objectContaining({ code, kind: 'usage' }))
  })
})

describe('targets together', () => {
  it.each([
    [['params=0.8x', 'params=0.5x']],
    [['params=0.8x', 'params=100M']],
    [['latency=0.7x@seq=64', 'size=1MB', 'latency=0.8x@seq=64']],
  ])('are refused where two are of the same: %j', (texts) => {
    expect(() => parseTargets(texts)).toThrow(expect.objectContaining({ code: 'TARGET_TWICE' }))
  })

  it('may be of one kind on two shapes', () => {
    expect(parseTargets(['latency=0.7x@seq=64', 'latency=0.8x@seq=512'])).toHaveLength(2)
  })
})

const source = loadModel(example)

const quantised = sharedModel('zoo/llama-nbits')
const dequantised = sharedModel('zoo/bert-qdq')

const decide = (targets: readonly string[], options: Partial<AmpOptions> = {}) =>
  decidePlan({
    source,
    passes: [amp({ criterion: 'magnitude', recover: 'none', ...options })],
    targets: parseTargets(targets),
    single: false,
    log: silentLog,
  })

describe('targets that can be counted', () => {
  it('are met by no more than a unit, or refused', async () => {
    const share = fc.integer({ min: 30, max: 98 })
    const kinds = fc.subarray(['params', 'size', 'flops', 'kv'], { minLength: 1 })
    const options = fc.record({
      allocation: fc.constantFrom('global' as const, 'uniform' as const),
      scope: fc.constantFrom('all' as const, 'feedForward' as const),
    })
    await fc.assert(
      fc.asyncProperty(kinds, fc.array(share, { minLength: 4, maxLength: 4 }), options, run),
      { numRuns: 6, seed: 3 },
    )

    async function run(
      chosen: readonly string[],
      shares: readonly number[],
      { allocation, scope }: Pick<AmpOptions, 'allocation' | 'scope'>,
    ): Promise<void> {
      const asked = chosen.map((kind, i) => `${kind}=${shares[i]}%`)
      try {
        const { targets, plan } = await decide(asked, { allocation, scope })
        expect(targets.map(({ isMet }) => isMet)).toEqual(asked.map(() => true))
        // A neuron of every layer, where all lose the same; heads are as large as they are.
        const isFine = allocation === 'global' && !chosen.includes('kv')
        if (isFine) expect(Math.max(...targets.map(({ excess }) => excess))).toBeGreaterThan(0.998)
        expect(plan.parts[0]?.slices.length).toBeGreaterThan(0)
      } catch (error) {
        if (!(error instanceof AttncError)) throw error
        expect(error).toMatchObject({ kind: 'budget', code: 'TARGET_UNREACHABLE' })
        const { targets } = error.report as { targets: ReturnType<typeof targetsJson> }
        expect(targets.some(({ met }) => !met)).toBe(true)
      }
    }
  }, 240_000)

  it('take half of the heads of a cache for half of it', async () => {
    const { targets, plan } = await decide(['kv=0.5x'])
    expect(targets).toMatchObject([{ before: 3072, asked: 1536, reached: 1536 }])
    const heads = plan.parts[0]?.slices.filter(({ dimension }) => /keyValueHeads$/.test(dimension))
    expect(heads?.flatMap(({ remove }) => remove)).toHaveLength(6)
  })

  it('say the nearest that can be reached, before any calibration', async () => {
    const found = decide(['params=0.2x'], { criterion: 'output', recover: 'ridge' })
    // Data are missed first where there are none.
    await expect(found).rejects.toMatchObject({ code: 'NO_DATA' })
    const error: AttncError = await decide(['params=0.2x', 'flops=0.9x']).catch((e) => e)
    expect(error).toMatchObject({ code: 'TARGET_UNREACHABLE', kind: 'budget' })
    expect(error.suggestions[0]).toMatch(/params=0\.3\d+x\.$/)
    const [nearest = ''] = /params=[\d.]+x/.exec(error.suggestions[0] ?? '') ?? []
    expect((await decide([nearest])).targets).toMatchObject([{ isMet: true }])
  })

  it.each([
    [['params=100M', 'size=1GB'], {}, 'TARGET_MET'],
    [['kv=0.5x'], { scope: 'feedForward' } as const, 'TARGET_UNREACHABLE'],
  ])('are refused where they can’t rule: %j %j', async (targets, options, code) => {
    await expect(decide(targets, options)).rejects.toMatchObject({ code })
  })

  it('are refused without a cache or a pass that cuts', async () => {
    const single = { source, single: true, log: silentLog, targets: parseTargets(['kv=0.5x']) }
    const passes = [amp({ criterion: 'magnitude', recover: 'none' })]
    await expect(decidePlan({ ...single, passes })).rejects.toMatchObject({
      code: 'TARGET_NOTHING',
    })
    await expect(decidePlan({ ...single, passes: [] })).rejects.toMatchObject({
      code: 'TARGET_PASS',
    })
  })
})

describe('targets of quantised models', () => {
  it.runIf(quantised)('are met by the units that really go, which differ in size', async () => {
    const options = { source: loadModel(quantised ?? ''), single: false, log: silentLog }
    const passes = [amp({ criterion: 'magnitude', recover: 'none' })]
    const targets = parseTargets(['params=0.9x', 'size=0.97x'])
    const found = await decidePlan({ ...options, passes, targets })
    expect(found.targets.map(({ isMet }) => isMet)).toEqual([true, true])
  })

  it.runIf(dequantised)('are refused where there is nothing to count', async () => {
    const options = { source: loadModel(dequantised ?? ''), single: false, log: silentLog }
    const passes = [amp({ criterion: 'magnitude', recover: 'none' })]
    const found = decidePlan({ ...options, passes, targets: parseTargets(['kv=0.9x']) })
    await expect(found).rejects.toMatchObject({ code: 'TARGET_NOTHING' })
  })
})

describe('a latency', () => {
  it('is measured on the result, which is written only where it is met', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
    const output = join(folder, 'out')
    try {
      const { targets, plan } = await prune({
        source,
        passes: [amp({ criterion: 'magnitude', recover: 'none' })],
        targets: parseTargets(['latency=0.85x@seq=32', 'params=0.95x']),
        output,
        single: false,
        log: silentLog,
      })
      expect(targets).toMatchObject([
        { target: { kind: 'latency' }, isMet: true },
        { target: { kind: 'params' }, isMet: true },
      ])
      const [latency] = targetsJson(targets)
      expect(latency?.share).toBeLessThan(0.85 * 1.03)
      expect(latency?.low).toBeLessThanOrEqual(latency?.share ?? 0)
      expect(readdirSync(folder)).toEqual(['out'])
      const ranked = plan.parts[0]?.findings?.sensitivity ?? []
      expect(ranked.length).toBeGreaterThan(0)
      for (const { gone, saved } of ranked) expect(saved?.length).toBe(gone?.length)
    } catch (error) {
      // A busy machine may refuse: with what was reached, and nothing written.
      if (!(error instanceof AttncError)) throw error
      expect(error.kind).toBe('budget')
      expect(error.report['targets']).toHaveLength(2)
      expect(readdirSync(folder)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  }, 240_000)
})
