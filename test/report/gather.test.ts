/** What a report says of real folders: counted in the original's members, and held against both models. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import Report from '../../commands/report.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { sensitivityOf } from '../../src/plan/findings.js'
import type { Plan } from '../../src/plan/plan.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { gatherReport } from '../../src/report/gather.js'
import type { ReportData } from '../../src/report/report-data.js'
import { example, runCommand, runJson } from '../commands/run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-report-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The second part counts in what the first left. */
const plan: Plan = {
  parts: [
    {
      pass: 'amp',
      options: { ratio: 0.1 },
      slices: [
        { dimension: 'layer.0.width', remove: [0, 2] },
        { dimension: 'layer.1.keyValueHeads', remove: [1] },
      ],
      findings: {
        measure: 'squared error',
        sensitivity: [
          {
            ...sensitivityOf('layer.1.keyValueHeads', 3, { order: [1, 0], errors: [0.5, 2] }),
            saved: [0.25, 0.5],
          },
          sensitivityOf('layer.0.width', 512, { order: [0, 2], errors: [1, 2] }),
        ],
      },
    },
    { pass: 'amp', options: {}, slices: [{ dimension: 'layer.0.width', remove: [0, 2] }] },
  ],
}
const pruned = join(folder, 'pruned')
const page = join(folder, 'report.html')

beforeAll(async () => {
  await applyToFolder({
    source: loadModel(example),
    plan,
    output: pruned,
    single: false,
    log: silentLog,
  })
})

const gather = () =>
  gatherReport({
    before: loadModel(example),
    after: loadModel(pruned),
    single: false,
    log: silentLog,
    created: new Date(0),
  })

describe('a report of two folders', () => {
  let data: ReportData
  beforeAll(async () => {
    data = await gather()
  })

  it('counts what went in the members of the original, part after part', () => {
    const strip = (layer: number, part: string) =>
      data.layers.find((each) => each.layer === layer)?.strips.find((each) => each.part === part)
    expect(strip(0, 'width')?.removed).toEqual([0, 1, 2, 4])
    expect(strip(1, 'keyValueHeads')).toMatchObject({ removed: [1], costs: [1.5, 0.5, null] })
    expect(strip(2, 'width')?.removed).toEqual([])
  })

  it('has the sizes of the folders and of the cache', () => {
    const { parameters, diskBytes, cacheBytesPerToken } = data.savings
    expect(parameters.after).toBeLessThan(parameters.before)
    expect(diskBytes.after).toBeLessThan(diskBytes.before)
    const sum = data.layers.reduce((all, each) => all + (each.cacheBytesPerToken?.after ?? 0), 0)
    expect(cacheBytesPerToken?.after).toBe(sum)
    expect(sum).toBeLessThan(cacheBytesPerToken?.before ?? 0)
  })

  it('maps what was measured, and nothing beyond it', () => {
    const row = data.sensitivity?.rows.find(({ part }) => part === 'keyValueHeads')
    expect(row?.losses.slice(0, 3)).toEqual([0.15, 0.3, 0.45].map((each) => expect.closeTo(each)))
    expect(row?.losses.at(-1)).toBeNull()
    expect(row?.reached).toBeCloseTo(1 / 3)
    // One of three heads went: it cost 0.5 and saved a quarter of a millisecond.
    expect(row?.perMillisecond).toBeCloseTo(2)
    const width = data.sensitivity?.rows.find(({ part }) => part === 'width')
    expect(width?.perMillisecond).toBeNull()
  })

  it('puts changed constants into their layers', () => {
    const changed = data.difference.constants.changed.filter(({ change }) => change === 'shape')
    expect(new Set(changed.map(({ layer }) => layer))).toEqual(new Set([0, 1]))
    const { layers } = readModel(loadModel(example).model.graph)
    expect(data.layers.length).toBe(layers)
  })

  it('is the same twice', async () => {
    expect(await gather()).toEqual(data)
  })
})

describe('attnc report', () => {
  it('writes a page with texts of both models, and prints its data', async () => {
    const argv = [example, pruned, '--prompt', 'Once <b>upon</b>', '--max-tokens', '4', '-o', page]
    const { json } = await runJson<ReportData>(Report, [...argv, '--force'])
    expect(json.texts).toHaveLength(1)
    const written = readFileSync(page, 'utf8')
    expect(written).toContain('Once &lt;b&gt;upon&lt;/b&gt;')
    expect(written.trimEnd().endsWith('</html>')).toBe(true)
  })

  it('refuses to replace a page unasked, and a folder', async () => {
    writeFileSync(page, 'mine')
    const ran = await runCommand(Report, [example, pruned, '-o', page])
    expect(ran.error).toMatchObject({ code: 'OUTPUT_EXISTS' })
    expect(readFileSync(page, 'utf8')).toBe('mine')
    const other = await runCommand(Report, [example, pruned, '-o', folder])
    expect(other.error).toMatchObject({ code: 'OUTPUT_NOT_A_FILE' })
    const below = await runCommand(Report, [example, pruned, '-o', join(page, 'below.html')])
    expect(below.error).toMatchObject({ code: 'OUTPUT_UNWRITABLE' })
  })

  it('says what is wrong, what to do, and writes nothing', async () => {
    const files = {
      'cut.json': '{"before": {"param',
      'other.json': JSON.stringify({
        before: { parameters: 1, bytes: 1, flopsPerToken: 1 },
        after: { parameters: 1, bytes: 1, flopsPerToken: 1 },
      }),
      'plan.json': JSON.stringify({
        format: 1,
        slices: [{ dimension: 'layer.0.width', remove: [1] }],
      }),
      'strange.json': JSON.stringify({
        format: 1,
        slices: [{ dimension: 'layer.99.width', remove: [1] }],
      }),
    }
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    const cases: readonly (readonly [string, readonly string[]])[] = [
      ['REPORT_NO_PLAN', [example, example]],
      ['REPORT_OTHER_MODEL', [pruned, pruned]],
      ['RUN_FORMAT', [example, pruned, '--from', join(folder, 'cut.json')]],
      ['REPORT_OTHER_RUN', [example, pruned, '--from', join(folder, 'other.json')]],
      ['REPORT_OTHER_PLAN', [example, pruned, '--plan', join(folder, 'plan.json')]],
      ['REPORT_OTHER_PLAN', [example, pruned, '--plan', join(folder, 'strange.json')]],
      ['RUN_MISSING', [example, pruned, '--from', join(folder, 'absent.json')]],
    ]
    for (const [code, argv] of cases) {
      const output = join(folder, `${code}.html`)
      const { error } = await runCommand(Report, [...argv, '-o', output])
      expect(error).toMatchObject({ code })
      expect((error as { suggestions?: readonly string[] }).suggestions).not.toEqual([])
      expect(() => readFileSync(output)).toThrow()
    }
  })
})
