/** Runs of one training that average what they learn. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../src/log.js'
import { Meetings } from '../../src/train/averaging.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-averaging-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const meetings = (rank: number, count: number, log = silentLog) =>
  new Meetings({ folder, rank, count, every: 1, patience: 0.3 }, log)

describe('runs that meet', () => {
  it('all have the mean, again and again, and leave little behind', async () => {
    const runs = [0, 1, 2].map((rank) => meetings(rank, 3))
    for (const update of [1, 2, 3, 4]) {
      const own = runs.map((_, rank) => Float32Array.of(rank, update, -rank * update))
      const all = await Promise.all(
        runs.map((run, rank) => run.average(update, own[rank] as Float32Array)),
      )
      for (const each of all) expect([...each]).toEqual([1, update, -update])
    }
    expect(readdirSync(folder).sort()).toEqual(['4-0.f32', '4-1.f32', '4-2.f32'])
  })

  it('go on without one that does not come', async () => {
    const warnings: string[] = []
    const log = { ...silentLog, warn: (code: string) => warnings.push(code) }
    const [first, second] = [meetings(0, 3, log), meetings(1, 3, log)]
    for (const update of [11, 12]) {
      const all = await Promise.all([
        first.average(update, Float32Array.of(2)),
        second.average(update, Float32Array.of(4)),
      ])
      expect(all.map(([value]) => value)).toEqual([3, 3])
    }
    expect(warnings).toEqual(['AVERAGING_LEFT_BEHIND', 'AVERAGING_LEFT_BEHIND'])
  })

  it('take no numbers of another training', async () => {
    writeFileSync(join(folder, '21-1.f32'), new Uint8Array(4))
    await expect(meetings(0, 2).average(21, Float32Array.of(1, 2))).rejects.toThrow(
      /has 4 bytes; expected 8/,
    )
  })
})
