/** Functions that exporters keep modules in stand open: their weights are read, shared by all calls, and can go. */
import { expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { exportModel } from '../../src/graph/export.js'
import type { Model } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
import { countParameters } from '../../src/inspect/parameters.js'
import { readModel } from '../../src/model/model.js'
import type { FunctionMessage, ModelMessage } from '../../src/onnx/messages.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { openFunctions } from '../../src/shape/open-functions.js'
import { linearModel, node, tensorMessage, valueInfo } from '../onnx/messages.js'
import { compareModels, difference, rewritten, runModel } from '../zoo/compare.js'

// C hidden, F width
const [C, F] = [3, 6]
const random = generator(5)
const draw = (count: number): number[] => Array.from({ length: count }, () => random() - 0.5)
const weights = { up: draw(C * F), down: draw(F * C) }

const constant = (name: string, dims: number[], data: number[]) =>
  node('Constant', [], [name], {
    attribute: [{ name: 'value', type: 4, t: tensorMessage(name, dims, data) }],
  })

/** x + relu(x·up)·down; the weights stand in the body, or come as inputs. */
const block = (domain: string, own: boolean, version = 18n): FunctionMessage => ({
  name: 'Block',
  domain,
  input: own ? ['x'] : ['x', 'up', 'down'],
  output: ['y'],
  // Some exporters write the same number for all domains, and another one into the model.
  opset_import: [
    { domain: '', version },
    { domain, version },
  ],
  node: [
    ...(own ? [constant('up', [C, F], weights.up), constant('down', [F, C], weights.down)] : []),
    node('MatMul', ['x', 'up'], ['wide']),
    node('Relu', ['wide'], ['active']),
    node('MatMul', ['active', 'down'], ['change']),
    node('Add', ['x', 'change'], ['y']),
  ],
})

/** Calls the block in its body. */
const twice = (domain: string, own: boolean): FunctionMessage => {
  const inner = own ? [] : ['up', 'down']
  return {
    ...block(domain, own),
    name: 'Twice',
    node: [
      node('Block', ['x', ...inner], ['hidden'], { domain }),
      node('Block', ['hidden', ...inner], ['y'], { domain }),
    ],
  }
}

function message(call: string, own: boolean, functions: FunctionMessage[]): ModelMessage {
  const domain = functions[0]?.domain ?? ''
  return {
    ...linearModel({
      opset_import: [
        { domain: '', version: 18n },
        { domain, version: 1n },
      ],
    }),
    graph: {
      name: 'calls',
      node: [node(call, own ? ['x'] : ['x', 'up', 'down'], ['y'], { domain })],
      initializer: own
        ? []
        : [tensorMessage('up', [C, F], weights.up), tensorMessage('down', [F, C], weights.down)],
      input: [valueInfo('x', 'n', C)],
      output: [valueInfo('y', 'n', C)],
    },
    functions,
  }
}

const x = tensorOf('float32', [4, C], draw(4 * C))
const parametersOf = (model: Model): number => countParameters(readModel(model.graph).analysis)
const run = async (model: Model) => (await runModel(model, [{ x }]))[0] ?? {}

it.each([true, false])('calls in calls stand open, weights in the body: %s', async (own) => {
  const domain = 'custom.Block.1'
  const made = () => importModel(message('Twice', own, [block(domain, own), twice(domain, own)]))
  const open = made()
  openFunctions(open)
  expect([...open.graph.nodes()].filter((each) => each.domain)).toEqual([])
  expect(open.graph.outputs.map(({ name }) => name)).toEqual(['y'])
  expect(exportModel(open).functions ?? []).toEqual([])
  expect(difference(await run(made()), await run(open))).toBeLessThan(1e-6)

  // One weight of two calls: a member goes from both.
  expect(parametersOf(open)).toBe(2 * C * F)
  expect(readModel(open.graph).feedForward.map(({ width }) => width)).toContain(F)
  const choice = new Map([['layer.0.width', [0, 2, 3, 5]]])
  const opened = () => {
    const model = made()
    openFunctions(model)
    return model
  }
  expect(await compareModels(opened, [{ x }], choice)).toBeLessThan(1e-5)
  expect(parametersOf(rewritten(open, choice, 'slice'))).toBe(2 * C * 4)
})

it('a function whose operators mean something else stays, and says why', () => {
  const domain = 'old'
  const model = importModel(message('Block', true, [block(domain, true, 6n)]))
  openFunctions(model)
  expect([...model.graph.nodes()].map(({ op }) => op)).toEqual(['Block'])
  const reasons = readModel(model.graph).analysis.unrecognised.map(({ reason }) => reason)
  expect(reasons.join()).toContain('opset 6')
})

it('a function that rules know by its name stays a call', () => {
  const domain = 'com.microsoft'
  const gelu: FunctionMessage = { ...block(domain, true), name: 'Gelu' }
  const model = importModel(message('Gelu', true, [gelu]))
  openFunctions(model)
  expect([...model.graph.nodes()].map(({ op }) => op)).toEqual(['Gelu'])
  expect(model.functions).toHaveLength(1)
})
