/** Drawing the next token: likelihoods, cuts, determinism. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bestOf, makeSampler } from '../../src/generate/sample.js'
import { TextStream } from '../../src/generate/text-stream.js'

const scores = fc.array(fc.double({ min: -20, max: 20, noNaN: true }), {
  minLength: 1,
  maxLength: 40,
})

test('without a temperature, and with one candidate, the best token is taken', () => {
  fc.assert(
    fc.property(scores, fc.nat(), (row, seed) => {
      expect(makeSampler({})(row)).toBe(bestOf(row))
      expect(makeSampler({ topK: 1, seed })(row)).toBe(bestOf(row))
      expect(makeSampler({ topP: 1e-9, seed })(row)).toBe(bestOf(row))
    }),
    { seed: 1 },
  )
})

test('only the topK best are drawn', () => {
  fc.assert(
    fc.property(scores, fc.integer({ min: 1, max: 5 }), fc.nat(), (row, topK, seed) => {
      const token = makeSampler({ topK, seed })(row)
      const better = row.filter((score) => score > (row[token] as number))
      expect(better.length).toBeLessThan(topK)
    }),
    { seed: 2 },
  )
})

test('tokens come as often as their probabilities say', () => {
  const sampler = makeSampler({ temperature: 2, seed: 3 })
  const row = [Math.log(0.5), Math.log(0.3), Math.log(0.2)].map((score) => score * 2)
  const counts = [0, 0, 0]
  for (let i = 0; i < 20_000; i++) {
    const token = sampler(row)
    counts[token] = (counts[token] ?? 0) + 1
  }
  for (const [token, share] of [0.5, 0.3, 0.2].entries())
    expect((counts[token] ?? 0) / 20_000).toBeCloseTo(share, 1)
})

test('a character made of several tokens comes whole', () => {
  // One token a byte, as byte-level tokenizers do it.
  const tokenizer = {
    encode: (text: string) => [...new TextEncoder().encode(text)],
    decode: (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids)),
  }
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'grapheme' }),
      (before, text) => {
        const stream = new TextStream(tokenizer, tokenizer.encode(before))
        const pieces = tokenizer.encode(text).map((token) => stream.add(token))
        pieces.push(stream.end())
        expect(pieces.join('')).toBe(text)
        for (const piece of pieces) expect(piece).not.toContain('\uFFFD')
      },
    ),
    { seed: 4 },
  )
})
