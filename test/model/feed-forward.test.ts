/** Which products of a graph are a feed-forward block, and which only look like one. */
import { describe, expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { inspect } from '../../src/inspect/inspect.js'
import { type Builder, build } from '../axes/builder.js'

// C hidden, W width, S tokens
const [C, W, S] = [8, 24, 5]

/** A convolution of integers, its input rounded by a step that is found while running: [batch, inputs, S, S] → [batch, outputs, S, S]. */
function rounded(b: Builder, x: Value, inputs: number, outputs: number): Value {
  const [codes, step, zero] = b.ops('DynamicQuantizeLinear', [x], 3) as [Value, Value, Value]
  const numbers = Array.from({ length: inputs * outputs }, (_, i) => (i * 37) % 255)
  const weight = b.bytes(numbers, outputs, inputs, 1, 1)
  const product = b.op('ConvInteger', [codes, weight, zero, b.bytes([128])])
  const scale = b.op('Mul', [step, b.scalar(0.01)])
  const scaled = b.op('Mul', [b.op('Cast', [product], { to: 1 }), scale])
  return b.op('Add', [scaled, b.weight(1, outputs, 1, 1)])
}

const block = (b: Builder, x: Value): Value =>
  b.op('Add', [x, rounded(b, b.op('Relu', [rounded(b, x, C, W)]), W, C)])

describe('a feed-forward block', () => {
  it('of convolutions that round what they read is one block, not the expert of another', async () => {
    const model = build((b) => block(b, block(b, block(b, b.input('x', ['batch', C, S, S])))))
    const { feedForward, experts } = await inspect(model)
    expect(feedForward.map(({ width, experts: mixture }) => [width, mixture])).toEqual([
      [W, undefined],
      [W, undefined],
      [W, undefined],
    ])
    expect(experts).toBeNull()
  })

  it.each(['GRU', 'LSTM'])('is nothing that a %s reads or makes', async (op) => {
    const gates = op === 'GRU' ? 3 : 4
    const model = build((b) => {
      // [S, batch, C]
      const x = b.input('x', [S, 'batch', C])
      const opened = b.op('Mul', [b.linear(x, C, W), b.op('Sigmoid', [b.linear(x, C, W)])])
      const [states] = b.ops(
        op,
        [opened, b.weight(2, (gates * C) / 2, W), b.weight(2, (gates * C) / 2, C / 2)],
        1,
        '',
        { hidden_size: C / 2, direction: 'bidirectional' },
      ) as [Value]
      const turned = b.op('Transpose', [states], { perm: [0, 2, 1, 3] })
      const joined = b.op('Reshape', [turned, b.integers(0, 0, C)])
      return b.op('Add', [x, joined])
    })
    expect((await inspect(model)).feedForward).toEqual([])
  })
})
