/**
 * AMP on feed-forwards of convolutions, over one position or several, whole or in groups: they are
 * re-fitted as products are.
 */
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

interface Kernel {
  /** Positions that a kernel sees, along each axis of space. */
  readonly space: readonly number[]
  readonly group?: number
}

/** Weights of neurons, each beside its double in its group, and of what reads them. */
function doubled(b: Builder, { space, group = 1 }: Kernel) {
  const random = generator(3)
  const places = space.reduce((product, size) => product * size, 1)
  const draw = (count: number) => Array.from({ length: count }, () => random() - 0.5)
  const inner = Array.from({ length: group }, () => {
    const half = draw((W / group / 2) * (C / group) * places)
    return [...half, ...half]
  }).flat()
  return {
    inner: b.numbers(inner, W, C / group, ...space),
    outer: b.numbers(draw(C * (W / group) * places), C, W / group, ...space),
    bias: b.weight(C),
  }
}

function feedForward(b: Builder, x: Value, kernel: Kernel): Value {
  const { inner, outer, bias } = doubled(b, kernel)
  const { space, group = 1 } = kernel
  const half = space.map((size) => (size - 1) / 2)
  const setting = { group, pads: [...half, ...half] }
  const neurons = b.op('Relu', [b.op('Conv', [x, inner], setting)])
  return b.op('Conv', [neurons, outer, bias], setting)
}

const layouts: Record<
  string,
  { dims: number[]; groups?: number; write: (b: Builder, x: Value) => Value }
> = {
  'of tokens, turned before and after': {
    dims: [8, S, C],
    write: (b, x) =>
      b.op('Add', [
        x,
        b.transpose(feedForward(b, b.transpose(x, 0, 2, 1), { space: [1] }), 0, 2, 1),
      ]),
  },
  'over three tokens': {
    dims: [24, S, C],
    write: (b, x) =>
      b.op('Add', [
        x,
        b.transpose(feedForward(b, b.transpose(x, 0, 2, 1), { space: [3] }), 0, 2, 1),
      ]),
  },
  'over squares of an image': {
    dims: [24, C, 3, S],
    write: (b, x) => b.op('Add', [x, feedForward(b, x, { space: [3, 3] })]),
  },
  'in groups': {
    dims: [8, C, S],
    groups: 2,
    write: (b, x) => b.op('Add', [x, feedForward(b, x, { space: [1], group: 2 })]),
  },
  'over three tokens in groups': {
    dims: [24, C, S],
    groups: 2,
    write: (b, x) => b.op('Add', [x, feedForward(b, x, { space: [3], group: 2 })]),
  },
  'of an image': {
    dims: [8, C, 3, S],
    write: (b, x) => b.op('Add', [x, feedForward(b, x, { space: [1, 1] })]),
  },
}

const cases = Object.keys(layouts).flatMap((name) =>
  [20, 11, 9].map((opset) => [name, opset] as const),
)

it.each(cases)(
  'half of the neurons answer for their doubles: %s, opset %i',
  async (name, opset) => {
    const { dims, groups = 1, write } = layouts[name] as (typeof layouts)[string]
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
      errorOfCut(model, feeds, W / groups / 2, { recover, ratio: 0.5, ridge: 1e-6 })
    expect(await lose('none')).toBeGreaterThan(0.05)
    expect(await lose('ridge')).toBeLessThan(0.005)
  },
)
