import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  fromBrain,
  fromHalf,
  toBrain,
  toHalf,
  unpackBrains,
  unpackHalves,
} from '../../src/onnx/half-precision.js'

const allBits = Uint16Array.from({ length: 1 << 16 }, (_, each) => each)

describe.each([
  ['half precision', fromHalf, toHalf, unpackHalves],
  ['bfloat16', fromBrain, toBrain, unpackBrains],
])('%s', (_, from, to, unpack) => {
  it('comes back from a number bit by bit, and many do as one does', () => {
    const numbers = unpack(allBits)
    for (const bits of allBits) {
      const number = from(bits)
      expect(numbers[bits]).toBe(number)
      if (Number.isNaN(number)) expect(from(to(number))).toBeNaN()
      else expect(to(number)).toBe(bits)
    }
  })

  it('is the nearest to a number, and of two as near the even one', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, min: -60000, max: 60000 }), (value) => {
        const bits = to(value)
        const far = Math.abs(from(bits) - value)
        for (const other of [bits - 1, bits + 1]) {
          const distance = Math.abs(from(other & 0xffff) - value)
          if (Math.sign(from(other & 0xffff)) === Math.sign(value) && Number.isFinite(distance))
            expect(distance > far || (distance === far && bits % 2 === 0)).toBe(true)
        }
      }),
      { numRuns: 2000, seed: 7 },
    )
  })
})
