/** What can't follow a pattern is said before anything is rewritten. */
import { expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { examine } from '../../src/sparse/examine.js'
import { build } from '../axes/builder.js'

// C hidden, H heads, D head size, S tokens
const [C, H, D, S] = [16, 2, 8, 6]

it('two softmaxes over the same heads in one product, one taken from the other', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const split = (value: Value, heads: number): Value =>
      b.transpose(b.reshape(value, 0, S, heads, D), 0, 2, 1, 3)
    const twice = (value: Value): Value => b.op('Concat', [value, value], { axis: 1 })
    const query = twice(split(b.linear(x, C, C), H))
    const key = twice(split(b.linear(x, C, C), H))
    const scores = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    const value = twice(split(b.linear(x, C, C), H))
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
    const [first, second] = b.split(context, 1, 2) as [Value, Value]
    const difference = b.op('Sub', [first, b.op('Mul', [second, b.scalar(0.3)])])
    const merged = b.reshape(b.transpose(difference, 0, 2, 1, 3), 0, S, C)
    return b.op('Add', [x, b.linear(merged, C, C)])
  })
  const reasons = (await examine(model)).map(({ reason }) => reason)
  expect(reasons).toEqual([`its scores have ${2 * H} heads, of which ${H} were read`])
})
