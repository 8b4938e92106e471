/** AMP on feed-forwards of convolutions that read each position alone: they are re-fitted as products are. */
import { expect, it } from 'vitest'
import { ampDefaults } from '../../passes/amp/options.js'
import { findSkipped } from '../../passes/amp/skipped.js'
import { generator } from '../../src/data/generator.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { type Builder, build } from '../axes/builder.js'
import { errorOfCut } from './error-of-cut.js'

// C channels, W neurons of which each is there twice, S positions
const [C, W, S] = [8, 12, 6]

/** Weights of neurons, each beside its double, and of what reads them. */
function doubled(b: Builder, ...space: number[]): { inner: Value; outer: Value; bias: Value } {
  const random = generator(3)
  const half = Array.from({ length: (W / 2) * C }, () => random() - 0.5)
  const outer = Array.from({ length: C * W }, () => random() - 0.5)
  return {
    inner: b.numbers([...half, ...half], W, C, ...space),
    outer: b.numbers(outer, C, W, ...space),
    bias: b.weight(C),
  }
}

const feedForward = (b: Builder, x: Value, ...space: number[]): Value => {
  const { inner, outer, bias } = doubled(b, ...space)
  return b.op('Conv', [b.op('Relu', [b.op('Conv', [x, inner])]), outer, bias])
}

const layouts: Record<string, { dims: number[]; write: (b: Builder, x: Value) => Value }> = {
  'of tokens, turned before and after': {
    dims: [8, S, C],
    write: (b, x) =>
      b.op('Add', [x, b.transpose(feedForward(b, b.transpose(x, 0, 2, 1), 1), 0, 2, 1)]),
  },
  'of an image': {
    dims: [8, C, 3, S],
    write: (b, x) => b.op('Add', [x, feedForward(b, x, 1, 1)]),
  },
}

const cases = Object.keys(layouts).flatMap((name) =>
  [20, 11, 9].map((opset) => [name, opset] as const),
)

it.each(cases)(
  'half of the neurons answer for their doubles: %s, opset %i',
  async (name, opset) => {
    const { dims, write } = layouts[name] as (typeof layouts)[string]
    const model = (): Model => {
      const made = build((b) => write(b, b.input('x', ['b', ...dims.slice(1)])))
      made.opsets.set('', opset)
      return made
    }
    const random = generator(9)
    const size = dims.reduce((product, each) => product * each, 1)
    const numbers = Array.from({ length: size }, () => random() - 0.5)
    const feeds = { x: tensorOf('float32', dims, numbers) }
    const view = readModel(model().graph)
    expect(view.feedForward.map(({ width }) => width)).toEqual([W])
    expect(findSkipped(view, ampDefaults)).toEqual([])
    const lose = (recover: 'ridge' | 'none'): Promise<number> =>
      errorOfCut(model, feeds, W / 2, { recover, ratio: 0.5, ridge: 1e-6 })
    expect(await lose('none')).toBeGreaterThan(0.05)
    expect(await lose('ridge')).toBeLessThan(0.005)
  },
)
