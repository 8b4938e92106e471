/** How far a cut model may be from the masked one follows from how its operators round. */
import { describe, expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { checkSlice, sliceBound } from '../../src/prune/check.js'
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

describe('outputs that are next to nothing', () => {
  /** What `make` gives, held against the same of an input that is moved by a little. */
  const check = (make: (b: Builder, x: Value) => Value) => {
    const open = (shift: number) =>
      build((b) => make(b, b.op('Add', [b.input('x', [1, 4]), b.scalar(shift)])))
    const feeds = { x: tensorOf('float32', [1, 4], [1, 2, 3, 4]) }
    const batches = [{ feeds, tokenMask: undefined, ids: [] }]
    return checkSlice(open(0.001), open(0), batches, { log: silentLog, threads: 1 })
  }

  it('are measured as chances are rounded where they are such', async () => {
    const chances = (b: Builder, x: Value) =>
      b.reshape(b.op('Sigmoid', [b.op('Sub', [x, b.scalar(22)])]), 2, 2)
    expect((await check(chances)).largest).toBeLessThan(1e-3)
  })

  it('are measured by themselves where they are anything else', async () => {
    const small = (b: Builder, x: Value) => b.op('Mul', [x, b.scalar(1e-5)])
    await expect(check((b, x) => small(b, b.op('Mul', [x, x])))).resolves.toBeDefined()
    await expect(
      check((b, x) => small(b, b.op('Exp', [b.op('Mul', [x, x])]))),
    ).rejects.toMatchObject({ code: 'NUMERIC_CHECK' })
  })
})
