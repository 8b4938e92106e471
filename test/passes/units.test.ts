/** What goes with a unit of a block: the rows of its projection that a removal of its members alone takes. */
import { expect, it } from 'vitest'
import { leavesOf } from '../../src/axes/axis.js'
import { Removal } from '../../src/axes/removal.js'
import type { Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { findPrunable } from '../../src/repair/prunable.js'
import { build } from '../axes/builder.js'

// C hidden, H heads of K that have keys, D head size, F neurons, S tokens
const [C, H, K, D, F, S] = [12, 4, 2, 3, 20, 6]

it('rows of heads, of members of heads, of neurons', () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const heads = (count: number): Value =>
      b.transpose(b.reshape(b.linear(x, C, count * D), 0, S, count, D), 0, 2, 1, 3)
    const repeated = (value: Value): Value => {
      const apart = b.op('Unsqueeze', [value, b.integers(2)])
      const spread = b.op('Expand', [apart, b.integers(1, K, H / K, S, D)])
      return b.reshape(spread, 0, H, S, D)
    }
    const key = b.transpose(repeated(heads(K)), 0, 1, 3, 2)
    const shares = b.op('Softmax', [b.op('MatMul', [heads(H), key])], { axis: -1 })
    const context = b.op('MatMul', [shares, repeated(heads(K))])
    const joined = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, H * D)
    const stream = b.op('Add', [x, b.linear(joined, H * D, C)])
    return b.op('Add', [stream, b.linear(b.op('Relu', [b.linear(stream, C, F)]), F, C)])
  })
  const choices = findPrunable(readModel(model.graph)).flatMap((block) => block.choices)
  expect(choices.map(({ units }) => units.length)).toEqual([K, D, F])
  for (const { block, dimension, units } of choices)
    for (const { members, rows } of units) {
      const { axis, size } = dimension
      const rest = Array.from({ length: size }, (_, i) => i).filter((i) => !members.includes(i))
      const kept = new Removal(new Map([[axis, rest]])).kept(block.inputs) ?? []
      expect(leavesOf(block.inputs)).toContain(axis.root)
      expect([...rows, ...kept].toSorted((one, other) => one - other)).toEqual(
        Array.from({ length: block.inputs.size.value ?? 0 }, (_, i) => i),
      )
    }
})
