/** What a cache is for: the same scores as without one, whatever its inputs are called. */
import { describe, expect, test } from 'vitest'
import { openDecoder } from '../../src/generate/decoder.js'
import { readLanguagePorts } from '../../src/generate/language-ports.js'
import { bestOf } from '../../src/generate/sample.js'
import { findStates } from '../../src/generate/states.js'
import { loadModel } from '../../src/model-folder/load.js'
import { sharedModel } from '../shared-models.js'

const steps = [[3, 1, 4], [9], [2], [6, 5], [1]]

async function scoresOf(path: string, cache: boolean, encoded: readonly number[] = []) {
  const loaded = loadModel(path)
  const ports = readLanguagePorts(loaded.model)
  await using decoder = await openDecoder({ ports, path: loaded.path, cache, threads: 1 })
  decoder.restart(encoded)
  const scores: number[][] = []
  for (const ids of steps) scores.push([...(await decoder.next(ids))])
  return { scores, usesCache: decoder.usesCache }
}

describe.each([
  'zoo/llama-past-ts',
  'zoo/llama-past-fused',
  'zoo/llama-past-op23',
  'zoo/gpt2-past-dyn',
  'zoo/gemma2-past-dyn',
  'zoo/llama-gqa',
  'zoo/llama-gqa-packed',
  'zoo/llama-gqa-nbits',
  'long-recall',
])('%s', (name) => {
  const path = sharedModel(name)
  test.skipIf(!path)('scores the same with its cache and without', async () => {
    const [cached, whole] = [
      await scoresOf(path as string, true),
      await scoresOf(path as string, false),
    ]
    expect(cached.usesCache).toBe(true)
    expect(whole.usesCache).toBe(false)
    expect(cached.scores.map(bestOf)).toEqual(whole.scores.map(bestOf))
    for (const [index, row] of cached.scores.entries())
      for (const [token, score] of row.entries())
        expect(Math.abs(score - (whole.scores[index]?.[token] ?? Number.NaN))).toBeLessThan(1e-3)
  })

  test.skipIf(!path)('scores several texts at once as one by one', async () => {
    const loaded = loadModel(path as string)
    const ports = readLanguagePorts(loaded.model)
    await using decoder = await openDecoder({ ports, path: loaded.path, threads: 1 })
    const texts = [
      [3, 1, 4, 1],
      [2, 7, 1, 8],
    ]
    const cuts = [0, 2, 3]
    const cut = (ids: readonly number[], at: number) => ids.slice(at, at === 0 ? 2 : at + 1)
    const together = new Map<number, number[][]>()
    for (const at of cuts) {
      const scores = await decoder.nextOfAll(texts.map((ids) => cut(ids, at)))
      together.set(
        at,
        scores.map((row) => [...row]),
      )
    }
    for (const [row, ids] of texts.entries()) {
      decoder.restart()
      for (const at of cuts) {
        const alone = await decoder.next(cut(ids, at))
        for (const [token, score] of alone.entries())
          expect(Math.abs(score - (together.get(at)?.[row]?.[token] ?? 0))).toBeLessThan(1e-3)
      }
    }
  })

  test.skipIf(!path)('pairs every cache input with the output of its layer and kind', () => {
    const pairs = findStates(loadModel(path as string).model)
    expect(pairs.length).toBe(4)
    const place = (text: string): string => text.replace(/^(past_key_values|present)/, '')
    for (const { input, output } of pairs) expect(place(output.name)).toBe(place(input.name))
  })
})

describe.each(['zoo/t5-ts', 'zoo/bart-dyn'])('%s', (name) => {
  const path = sharedModel(name)
  test.skipIf(!path)('says something else when its encoder read something else', async () => {
    const one = await scoresOf(path as string, true, [5, 6, 7])
    const other = await scoresOf(path as string, true, [8, 9])
    expect(one.usesCache).toBe(false)
    expect(one.scores).not.toEqual(other.scores)
  })
})

test.each([
  ['zoo/bert-ts', 'NO_LOGITS'],
  ['zoo/vit-ts', 'NO_LOGITS'],
  ['zoo/wav2vec2-ts', 'NO_TOKENS'],
])('%s is refused: %s', (name, code) => {
  const path = sharedModel(name)
  if (!path) return
  expect(() => readLanguagePorts(loadModel(path).model)).toThrow(
    expect.objectContaining({ code, suggestions: [expect.any(String)] }),
  )
})
