/** Windows that a model makes up: like the data in form, the same from the same seed. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { openData } from '../../src/data/open-data.js'
import { recite } from '../../src/generate/recite.js'
import { findStart } from '../../src/generate/start-token.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findAddon } from '../../src/runtime/native/library.js'
import { sharedModel } from '../shared-models.js'
import { cachedDecoder, VOCABULARY } from './cached-decoder.js'

const path = sharedModel('zoo/llama-past-ts')

test.skipIf(!path)(
  'continues the data, or one token, in windows as long, drawn by the seed',
  async () => {
    const source = loadModel(path as string)
    const { vocabulary } = readModel(source.model.graph)
    const batches = openData('random', {
      model: source.model,
      folder: source.folder,
      vocabulary,
      samples: 4,
      batchSize: 2,
      sequenceLength: 12,
    })
    const texts = batches.flatMap(({ ids }) => ids)
    const options = {
      source,
      texts,
      length: 12,
      batchSize: 2,
      windows: 5,
      vocabulary,
      log: silentLog,
      threads: 1,
    }
    const made = await recite({ ...options, seed: 1 })
    expect(made.map(({ ids }) => ids.map((row) => row.length))).toEqual([[12, 12], [12, 12], [12]])
    const known = texts.map(String)
    const continues = made
      .flatMap(({ ids }) => ids)
      .map((row) => known.some((text) => text.includes(String(row.slice(0, 4)))))
    expect(continues).toEqual([true, false, true, false, true])
    const again = await recite({ ...options, seed: 1 })
    const other = await recite({ ...options, seed: 2 })
    expect(again.map(({ ids }) => ids)).toEqual(made.map(({ ids }) => ids))
    expect(other.map(({ ids }) => ids)).not.toEqual(made.map(({ ids }) => ids))
  },
)

describe.runIf(findAddon())('with a cache that stays in its place', () => {
  /** What is made up with and without, and what the log says. */
  async function both(slope: number) {
    const file = materialise(cachedDecoder({ slope }))
    const said: string[] = []
    const log = { ...silentLog, info: (text: string) => said.push(text) }
    try {
      const source = loadModel(file.path)
      const options = {
        source,
        length: 24,
        batchSize: 3,
        windows: 6,
        vocabulary: VOCABULARY,
        seed: 3,
      }
      const made = await Promise.all(
        [true, false].map((fixesCache) => recite({ ...options, fixesCache, log, threads: 1 })),
      )
      const [fixed, moved] = made.map((batches) => batches.flatMap(({ ids }) => ids))
      return { fixed, moved, said }
    } finally {
      file.dispose()
    }
  }

  it('says the same text', async () => {
    const { fixed, moved, said } = await both(0)
    expect(fixed).toEqual(moved)
    expect(said).toEqual([])
  })

  it('finds out that what is far counts less, and goes the other way', async () => {
    const { fixed, moved, said } = await both(1)
    expect(fixed).toEqual(moved)
    expect(said).toEqual([
      expect.stringMatching(/can't stay in its place\. After \d+ tokens \d+ %/),
    ])
  })
})

const encoder = sharedModel('zoo/t5-ts')

test.skipIf(!encoder)('refuses a model that answers to what its encoder reads', async () => {
  const source = loadModel(encoder as string)
  const options = {
    source,
    windows: 1,
    length: 4,
    batchSize: 1,
    vocabulary: 8,
    log: silentLog,
    seed: 0,
  }
  await expect(recite(options)).rejects.toMatchObject({ code: 'ENCODER_TEXT' })
})

const stories = sharedModel('tiny-stories')

test.skipIf(!stories)('finds the token that texts begin with in the tokenizer alone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-start-'))
  try {
    expect(findStart(folder)).toBeUndefined()
    copyFileSync(join(stories as string, 'tokenizer.json'), join(folder, 'tokenizer.json'))
    expect(findStart(folder)).toBe(0)
    writeFileSync(join(folder, 'config.json'), '{"bos_token_id": 7}')
    expect(findStart(folder)).toBe(7)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
