/** How far a cut model may be from the masked one follows from how its operators round. */
import { expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { sliceBound } from '../../src/prune/check.js'
import { type Builder, build } from '../axes/builder.js'

const bits = { K: 32, N: 4, bits: 4, block_size: 32 }
const packed = (b: Builder, x: Value, settings: Record<string, number>): Value => {
  const inputs = [x, b.bytes(new Array(64).fill(7), 4, 1, 16), b.filled(1, 4, 1)]
  return b.ops('MatMulNBits', inputs, 1, 'com.microsoft', { ...bits, ...settings })[0] as Value
}
const graphs: Record<string, [number, (b: Builder, x: Value) => Value]> = {
  'single precision': [1e-3, (b, x) => b.linear(x, 32, 4)],
  'weights of few bits': [2e-2, (b, x) => packed(b, x, { accuracy_level: 0 })],
  'activations rounded inside a product': [5e-2, (b, x) => packed(b, x, { accuracy_level: 4 })],
  'activations rounded by an operator': [
    5e-2,
    (b, x) => b.ops('DynamicQuantizeLinear', [x], 3)[0] as Value,
  ],
}

it.each(Object.keys(graphs))('%s', (name) => {
  const [bound, make] = graphs[name] as (typeof graphs)[string]
  expect(sliceBound(build((b) => make(b, b.input('x', ['batch', 32]))))).toBe(bound)
})
