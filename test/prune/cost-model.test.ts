/** Times of operators: what they weigh, that they are kept, and whom they belong to. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RankedBlocks } from '../../passes/amp/decide.js'
import { amp } from '../../passes/amp/index.js'
import { ampDefaults } from '../../passes/amp/options.js'
import { TimeCache } from '../../src/bench/time-cache.js'
import { silentLog } from '../../src/log.js'
import { readModel, type TransformerModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { CostModel, smallestStep } from '../../src/prune/cost-model.js'
import { parseTarget } from '../../src/prune/target.js'
import { example } from '../commands/run-command.js'

let folder: string
let before: string | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-times-'))
  before = process.env['XDG_CACHE_HOME']
  process.env['XDG_CACHE_HOME'] = folder
})
afterEach(() => {
  if (before === undefined) delete process.env['XDG_CACHE_HOME']
  else process.env['XDG_CACHE_HOME'] = before
  rmSync(folder, { recursive: true })
})

describe('times that are kept', () => {
  const machine = { provider: 'cpu', threads: 1 } as const

  it('are there again, for this machine alone', () => {
    const cache = TimeCache.open(machine)
    cache.set('MatMul', 3)
    cache.save()
    expect(TimeCache.open(machine).get('MatMul')).toBe(3)
    expect(TimeCache.open({ ...machine, threads: 2 }).get('MatMul')).toBeUndefined()
    const [name = ''] = readdirSync(join(folder, 'attnc'))
    const kept = JSON.parse(readFileSync(join(folder, 'attnc', name), 'utf8'))
    expect(kept).toMatchObject({ format: 1, machine: { provider: 'cpu', threads: 1 } })
  })

  it('are measured again where the file is damaged, and no reason to fail where there can be none', () => {
    const cache = TimeCache.open(machine)
    cache.set('MatMul', 3)
    cache.save()
    const [name = ''] = readdirSync(join(folder, 'attnc'))
    writeFileSync(
      join(folder, 'attnc', name),
      '{"format": 1, "times": {"MatMul": "fast", "Add": 2}}',
    )
    expect(TimeCache.open(machine).get('MatMul')).toBeUndefined()
    expect(TimeCache.open(machine).get('Add')).toBe(2)
    writeFileSync(join(folder, 'attnc', name), '{')
    expect(TimeCache.open(machine).get('Add')).toBeUndefined()
    const nowhere = TimeCache.open(machine, join(folder, 'attnc', name, 'below'))
    nowhere.set('MatMul', 3)
    nowhere.save()
  })
})

const sizeOf = ({ dimensions }: TransformerModel, id: string): number =>
  dimensions.find((each) => each.id === id)?.size ?? 0

describe('the step of a width', () => {
  /** Kernels work on `block` columns at once, and a rest takes longer than a whole block. */
  const kernel = (block: number, rest: number) => async (kept: number) =>
    Math.floor(kept / block) + (kept % block > 0 ? rest : 0)

  it.each([
    ['any width where time follows it', 1, 1, 1],
    ['whole blocks where a rest is dear', 8, 2.5, 8],
    ['whole blocks of 16', 16, 2.5, 16],
    ['any width where a rest costs what a block does', 8, 1, 1],
  ])('is %s', async (_, block, rest, step) => {
    expect(await smallestStep(256, kernel(block, rest))).toBe(step)
  })

  it('is what widths that stay are multiples of', async () => {
    const source = loadModel(example)
    const view = readModel(source.model.graph)
    const input = { model: source.model, view, calibration: new Map(), log: silentLog }
    const chosen = { criterion: 'magnitude', recover: 'none', values: false } as const
    await using ranked = await RankedBlocks.open(input, { ...ampDefaults, ...chosen })
    const widths = (roundTo: number): number[] =>
      ranked
        .outline({ ratio: 0.35, roundTo })
        .filter(({ dimension }) => dimension.endsWith('width'))
        .map(({ dimension, remove }) => sizeOf(view, dimension) - remove.length)
    expect(widths(1).some((kept) => kept % 16 > 0)).toBe(true)
    expect(widths(16).map((kept) => kept % 16)).toEqual(widths(16).map(() => 0))
  })

  it('is not made of noise', async () => {
    expect(await smallestStep(512, async (kept) => (kept === 512 ? 1 : 1.02))).toBe(1)
  })
})

describe('a model of costs', () => {
  it('gives equal layers equal prices, and saves more the more goes', async () => {
    const source = loadModel(example)
    const { slices } = amp({ criterion: 'magnitude', recover: 'none' }).cut?.most({
      view: readModel(source.model.graph),
      hasCache: true,
    }) ?? { slices: [] }
    const subject = { source, single: false, parts: [] }
    const measure = () =>
      CostModel.measure(subject, slices, parseTarget('latency=0.7x@seq=64'), { log: silentLog })
    const model = await measure()
    const prices = [...model.prices()]
    expect(prices.length).toBe(slices.length)
    for (const role of ['keyValueHeads', 'width']) {
      const own = prices.filter(([id]) => id.endsWith(role)).map(([, price]) => price)
      expect(own[0]).toBeGreaterThan(0)
      // The same operators on the same shapes, summed in the same order.
      expect(new Set(own.map((price) => price.toPrecision(6))).size).toBe(1)
    }
    const some = (share: number) =>
      slices.map(({ dimension, remove }) => ({
        dimension,
        remove: remove.slice(0, Math.ceil(share * remove.length)),
      }))
    const saved = [0, 0.3, 0.6, 1].map((share) => model.saved(some(share)))
    expect(saved).toEqual(saved.toSorted((a, b) => a - b))
    expect(saved[0]).toBe(0)
    expect(saved[3]).toBeGreaterThan(0)
    // A second time nothing is timed, so nothing differs.
    expect([...(await measure()).prices()]).toEqual(prices)
  })
})
