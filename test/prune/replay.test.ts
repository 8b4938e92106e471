/**
 * The same model, plan and version give the same bytes, however many threads work: plans of slices, and plans
 * that were decided on data and carry re-fitted and rounded numbers.
 */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { amp } from '../../passes/amp/index.js'
import { quantize } from '../../passes/quantize/index.js'
import { openData, portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { readPlan, writePlan } from '../../src/plan/plan-file.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { decidePlan } from '../../src/prune/decide.js'
import { example } from '../commands/run-command.js'

const zoo = '../shared/models/zoo'
const names = ['llama-past-dyn', 't5-dyn', 'llama-gqa-packed', 'bert-qdq', 'mixtral-ts']
if (!existsSync(zoo)) process.stdout.write(`replay: skipped, ${zoo} is absent\n`)

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Name and digest of every file of a folder. */
const digests = (path: string): string[] =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.includes('.'))
    .sort()
    .map((name) => {
      const bytes = readFileSync(join(path, name))
      return `${name} ${createHash('sha256').update(bytes).digest('hex')}`
    })

describe.skipIf(!existsSync(zoo))(`a plan replayed (skipped where ${zoo} is absent)`, () => {
  test.each(names)(
    'on %s gives the same bytes, at once and from its own plan.json',
    { timeout: 60_000 },
    async (name) => {
      const model = join(folder, 'model')
      cpSync(join(zoo, name), model, { recursive: true })
      const slices = readModel(loadModel(model).model.graph)
        .dimensions.filter((each) => each.sliceable && each.size > each.granularity)
        .map(({ id, granularity, size }, index) => {
          const runs = Math.ceil(size / granularity)
          const from = (index % runs) * granularity
          const length = Math.min(granularity, size - from)
          return { dimension: id, remove: Array.from({ length }, (_, i) => from + i) }
        })
      const replay = async (output: string, threads: number, plan?: string): Promise<string[]> => {
        const to = join(folder, output)
        const replayed = plan ? readPlan(plan) : { parts: [{ slices }] }
        const source = loadModel(model)
        await applyToFolder({
          source,
          plan: replayed,
          output: to,
          threads,
          single: false,
          log: silentLog,
        })
        return digests(to)
      }
      const first = await replay('one', 1)
      expect(first.map((each) => each.split(' ')[0])).toContain('plan.json')
      expect(await replay('two', 2, join(folder, 'one'))).toEqual(first)
    },
  )
})

describe('a plan that was decided on data', () => {
  const text = { sequenceLength: 64, batchSize: 4, samples: 16, textMode: 'paragraphs' } as const
  const shared = (name: string): string => join('../shared/models', name)
  const vision = {
    path: shared('digits-vit'),
    data: shared('digits-vit/calibration.npz'),
    options: { batchSize: 64, samples: 256 },
  }
  const cases = [
    { path: example, data: join(example, 'calibration.txt'), options: text },
    vision,
    ...['llama-past-dyn', 'bert-dyn', 'gpt2-dyn', 'vit-dyn'].map((name) => ({
      path: join(zoo, name),
      data: undefined,
      options: {},
    })),
  ]

  test.each(cases)(
    'on $path gives the same bytes with one thread and with two',
    { timeout: 240_000 },
    async ({ path, data, options }) => {
      const isThere = existsSync(path)
      if (!isThere) process.stdout.write(`replay: skipped, ${path} is absent\n`)
      if (!isThere) return
      const model = join(folder, 'model')
      cpSync(path, model, { recursive: true })
      const source = loadModel(model)
      const { plan } = await decidePlan({
        source,
        batches:
          data === undefined
            ? randomBatches({
                ...{ inputs: portsOf(source.model), vocabulary: 16, seed: 5 },
                ...{ sequenceLength: 12, batchSize: 4, samples: 64 },
              })
            : openData(data, { ...options, model: source.model, folder: source.folder }),
        passes: [amp({ ratio: 0.3 }), quantize({ precision: 'int8' })],
        single: false,
        threads: 2,
        log: silentLog,
      })
      expect(plan.parts[0]?.projections?.length).toBeGreaterThan(0)
      const written = join(folder, 'plan.json')
      writePlan(written, plan)
      const replay = async (threads: number): Promise<string[]> => {
        const output = join(folder, `by ${threads}`)
        const again = { plan: readPlan(written), source: loadModel(model), output, threads }
        await applyToFolder({ ...again, single: false, log: silentLog })
        return digests(output)
      }
      const one = await replay(1)
      expect(one.map((each) => each.split(' ')[0])).toContain('plan.json')
      expect(await replay(2)).toEqual(one)
    },
  )
})
