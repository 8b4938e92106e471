/** Learned numbers and computed ones, told apart by the numbers. */
import { expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { isFormula } from '../../src/inspect/learned-numbers.js'
import { isOdd } from '../../src/inspect/odd-number.js'
import { tensorOf, toConstant } from '../../src/onnx/numbers.js'

const width = 20_000
const random = generator(1)

it.each([
  ['rows longer than what is looked at, drawn by chance', () => random() - 0.5, false],
  ['rows longer than what is looked at, of positions', (i: number) => (i % width) * 0.5, true],
  [
    'slopes that a mask hides a part of',
    (i: number) => (i % width > width / 2 ? -3e38 : (i % width) * 0.5),
    true,
  ],
])('%s: a formula is %s', (_, number, expected) => {
  const numbers = Array.from({ length: 2 * width }, (_, i) => number(i))
  expect(isFormula(toConstant(tensorOf('float32', [2, width], numbers)))).toBe(expected)
})

it.each([
  ['a tenth', 0.0999755859375, false],
  ['the root of three', 1.732421875, false],
  ['a half and a quarter', 0.75, false],
  ['a trained number', 0.72314453125, true],
])('%s in half precision: nobody would write it down is %s', (_, number, expected) => {
  expect(isOdd(number, true)).toBe(expected)
})
