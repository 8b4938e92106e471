/** The same model, plan and version give the same bytes, however many threads work. */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { readPlan } from '../../src/plan/plan-file.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'

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
