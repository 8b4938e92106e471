/** Safetensors: what is written is read again, and what is damaged is refused by name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../src/data/safetensors.js'
import { AttncError } from '../../src/errors.js'
import { tensorOf } from '../../src/onnx/numbers.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-safetensors-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'file.safetensors')

const good = writeSafetensors(
  new Map([
    ['a', tensorOf('float32', [2, 3], [1, 2, 3, 4, 5, 6])],
    ['b', tensorOf('float16', [1], [0.5])],
    ['__proto__', tensorOf('int64', [0, 4], [])],
  ]),
)

/** A file of a header as it is, and as many bytes of numbers. */
function fileOf(header: unknown, bytes = 24): Uint8Array {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, Buffer.alloc(bytes)])
}

const entry = { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] }

describe('safetensors', () => {
  it('are read as they were written', () => {
    writeFileSync(path, good)
    const found = readSafetensors(path)
    expect([...found.keys()].sort()).toEqual(['__proto__', 'a', 'b'])
    expect(found.get('a')).toEqual(tensorOf('float32', [2, 3], [1, 2, 3, 4, 5, 6]))
    expect(found.get('b')).toEqual(tensorOf('float16', [1], [0.5]))
  })

  it.each([
    ['nothing', new Uint8Array()],
    ['a length beyond the file', Buffer.concat([Buffer.alloc(7, 0xff), Buffer.alloc(20)])],
    ['no JSON', fileOf('{')],
    ['a list', fileOf([])],
    ['an entry of nothing', fileOf({ a: null })],
    ['a negative size', fileOf({ a: { ...entry, shape: [-2, 3] } })],
    ['a size that is none', fileOf({ a: { ...entry, shape: [1e300] } })],
    ['an unknown type', fileOf({ a: { ...entry, dtype: 'F8_E4M3' } })],
    ['a place of another size', fileOf({ a: { ...entry, data_offsets: [0, 20] } })],
    ['a place beyond the file', fileOf({ a: { ...entry, data_offsets: [24, 48] } })],
    ['a place that ends before it begins', fileOf({ a: { ...entry, data_offsets: [24, 0] } })],
    ['two tensors in one place', fileOf({ a: entry, b: entry })],
  ])('with %s are refused', (_, bytes) => {
    writeFileSync(path, bytes)
    expect(() => readSafetensors(path)).toThrow(
      expect.objectContaining({ code: 'SAFETENSORS_FORMAT' }),
    )
  })

  it('of which any byte was changed are read, or refused by name', () => {
    const at = fc.nat({ max: good.length - 1 })
    fc.assert(
      fc.property(
        fc.array(fc.tuple(at, fc.nat({ max: 255 })), { minLength: 1 }),
        at,
        (edits, cut) => {
          const bytes = good.slice(0, edits.length % 2 ? good.length : cut)
          for (const [place, value] of edits) bytes[place % bytes.length] = value
          writeFileSync(path, bytes)
          try {
            readSafetensors(path)
          } catch (error) {
            expect(error).toBeInstanceOf(AttncError)
          }
        },
      ),
      { seed: 3, numRuns: 300 },
    )
  })
})
