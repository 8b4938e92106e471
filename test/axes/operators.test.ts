/**
 * Every operator of ONNX and of ONNX Runtime, in a small graph beside a feed-forward: whatever it is fed,
 * nothing throws, what has no rule is named, and it stands in nobody's way but of what it touches.
 */
import { describe, expect, it } from 'vitest'
import { axisRules } from '../../src/axes/rules/index.js'
import { checkModel } from '../../src/graph/check.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { countParameters } from '../../src/inspect/parameters.js'
import { readModel } from '../../src/model/model.js'
import { applyPart } from '../../src/plan/apply.js'
import { type Builder, build } from './builder.js'
import { contrib, standard } from './operators.js'

const C = 8

interface Operator {
  readonly domain: string
  readonly op: string
  readonly least: number
  readonly most: number
  readonly outputs: number
}

const parse = (text: string, domain: string): Operator[] =>
  text
    .trim()
    .split(/\s+/)
    .map((entry) => {
      const [, op = '', least, most, outputs] = /^(\w+):(\d+)-(\d+)>(\d+)$/.exec(entry) ?? []
      return { domain, op, least: Number(least), most: Number(most), outputs: Number(outputs) }
    })

type Feed = (b: Builder, x: Value, index: number) => Value

/** What the inputs are: all the stream, weights beside it, vectors beside it, integers beside it. */
const feeds: Record<string, Feed> = {
  streams: (_, x) => x,
  matrices: (b, x, index) => (index === 0 ? x : b.weight(C, C)),
  vectors: (b, x, index) => (index === 0 ? x : b.weight(C)),
  integers: (b, x, index) => (index === 0 ? x : b.integers(1)),
  heads: (b, x) => b.transpose(b.reshape(x, 0, 0, 2, C / 2), 0, 2, 1, 3),
  constants: (b) => b.weight(C, C),
}

function modelOf({ domain, op, outputs }: Operator, count: number, feed: Feed): Model {
  return build((b) => {
    const x = b.input('x', ['batch', 5, C])
    const wide = b.op('Relu', [b.linear(x, C, 24)])
    const stream = b.op('Add', [x, b.linear(wide, 24, C)])
    const inputs = Array.from({ length: count }, (_, index) => feed(b, stream, index))
    const made = b.ops(op, inputs, outputs, domain)
    for (const value of made) b.expose(value)
    return b.op('Add', [stream, b.linear(made[0] as Value, C, C)])
  })
}

describe.each([
  ['ONNX', parse(standard, '')],
  ['ONNX Runtime', parse(contrib, 'com.microsoft')],
])('operators of %s', (_, operators) => {
  it.each(operators.map((each) => [each.op, each] as const))('%s', (op, operator) => {
    const { domain, least, most } = operator
    const hasRule = axisRules.has(domain ? `${domain}.${op}` : op)
    for (const [name, feed] of Object.entries(feeds))
      for (const count of new Set([least, most])) {
        const model = modelOf(operator, count, feed)
        const view = readModel(model.graph)
        countParameters(view.analysis)
        const where = `${op} with ${count} ${name}`
        const [width] = view.dimensions.filter(({ size }) => size === 24)
        expect(width?.sliceable, where).toBe(true)
        const reasons = view.analysis.unrecognised.filter(({ node }) => node.op === op)
        if (!hasRule) expect(reasons[0]?.reason, where).toContain(op)
        const slices = view.dimensions
          .filter(({ sliceable, size, granularity }) => sliceable && size > granularity)
          .map(({ id, granularity }) => ({
            dimension: id,
            remove: Array.from({ length: granularity }, (_, index) => index),
          }))
        applyPart(model.graph, { slices }, { view, as: 'slice' })
        expect(checkModel(model).violations, where).toEqual([])
      }
  })
})
