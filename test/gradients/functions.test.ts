/** Functions that exporters leave in files: written out they are what they were, and gradients pass through them. */
import { expect, test } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { portsOf } from '../../src/data/open-data.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import { addGradients } from '../../src/gradients/gradients.js'
import { writeFunctions } from '../../src/gradients/lower/functions.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
import { silentLog } from '../../src/log.js'
import type { FunctionMessage, ModelMessage } from '../../src/onnx/messages.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import type { Feeds } from '../../src/runtime/session.js'
import { train } from '../../src/train/train.js'
import { linearModel, node, tensorMessage, valueInfo } from '../onnx/messages.js'
import { runOnce } from '../runtime/run-once.js'

const domain = 'pkg.block'
const opsets = (version: bigint) => [
  { domain: '', version },
  { domain, version: 1n },
]

/** gain · LeakyRelu(v), with a slope that is stated or not. */
const activation = (version: bigint): FunctionMessage => ({
  name: 'activation',
  domain,
  input: ['v'],
  output: ['r'],
  attribute: ['gain'],
  attribute_proto: [{ name: 'slope', type: 1, f: 0.5 }],
  opset_import: opsets(version),
  node: [
    node('LeakyRelu', ['v'], ['bent'], {
      attribute: [{ name: 'alpha', type: 1, ref_attr_name: 'slope' }],
    }),
    node('Constant', [], ['factor'], {
      attribute: [{ name: 'value_float', type: 1, ref_attr_name: 'gain' }],
    }),
    node('Mul', ['bent', 'factor'], ['r']),
  ],
})

const branch = (name: string, output: string, read: string) => ({
  name,
  type: 5,
  g: {
    name,
    node: [node('Add', [read, read], [output])],
    output: [valueInfo(output)],
  },
})

/**
 * activation(max(x·w, least)), where `least` may be left out; a number that a branch picks is
 * added, and tells nothing of x.
 */
const layer: FunctionMessage = {
  name: 'layer',
  domain,
  input: ['x', 'w', 'least'],
  output: ['y'],
  attribute: ['leak'],
  opset_import: opsets(18n),
  node: [
    node('MatMul', ['x', 'w'], ['product']),
    node('Clip', ['product', 'least'], ['sum']),
    node('Constant', [], ['one'], { attribute: [{ name: 'value_float', type: 1, f: 1 }] }),
    node('Constant', [], ['two'], { attribute: [{ name: 'value_float', type: 1, f: 2 }] }),
    node('Less', ['one', 'two'], ['isLess']),
    node('If', ['isLess'], ['number'], {
      attribute: [branch('then_branch', 'a', 'one'), branch('else_branch', 'c', 'two')],
    }),
    node('activation', ['sum'], ['active'], {
      domain,
      attribute: [
        { name: 'slope', type: 1, ref_attr_name: 'leak' },
        { name: 'gain', type: 1, f: 1.5 },
      ],
    }),
    node('Add', ['active', 'number'], ['y']),
  ],
}

/** Two layers; the first is not clipped and has a slope of its own. */
function message(inner: FunctionMessage = activation(18n), outer = layer): ModelMessage {
  const random = generator(7)
  const draw = (count: number): number[] => Array.from({ length: count }, () => 3 * random() - 1.5)
  const call = (inputs: string[], output: string, attribute: NonNullable<object[]>) =>
    node('layer', inputs, [output], { domain, attribute })
  return {
    ...linearModel({ opset_import: opsets(18n) }),
    graph: {
      name: 'layers',
      node: [
        call(['x', 'w'], 'hidden', [{ name: 'leak', type: 1, f: 0.25 }]),
        call(['hidden', 'v', 'b'], 'y', []),
      ],
      initializer: [
        tensorMessage('w', [2, 3], draw(6)),
        tensorMessage('v', [3, 2], draw(6)),
        tensorMessage('b', [], [-4.5]),
      ],
      input: [valueInfo('x', 'n', 2)],
      output: [valueInfo('y', 'n', 2)],
    },
    functions: [inner, outer],
  }
}

const x = tensorOf('float32', [3, 2], [0.5, -1, 2, 0.25, -0.75, 1])

const run = (model: Model, feeds: Feeds = { x }): Promise<Record<string, RuntimeTensor>> =>
  runOnce(model, feeds)

const outputOf = async (model: Model): Promise<number[]> =>
  Array.from(numbersOf((await run(model))['y'] as RuntimeTensor))

test('calls written out compute what they did, and none is left', async () => {
  const model = importModel(message())
  const expected = await outputOf(model)
  edit(model.graph, 'test', writeFunctions)
  expect([...model.graph.nodes()].filter(({ domain: own }) => own)).toEqual([])
  expect(model.graph.outputs.map(({ name }) => name)).toEqual(['y'])
  const found = await outputOf(model)
  for (const [i, each] of found.entries()) expect(each).toBeCloseTo(expected[i] as number, 5)
})

/** The loss Σ y² and its gradient with respect to x. */
function squares(model: Model): { readonly loss: string; readonly gradient: string } {
  return edit(model.graph, 'test', (change) => {
    const y = model.graph.values.get('y') as Value
    const loss = change.add('ReduceSum', [change.add('Mul', [y, y])], {
      attributes: { keepdims: { kind: 'int', value: 0n } },
    })
    const wanted = model.graph.values.get('x') as Value
    const gradient = addGradients(change, loss, [wanted]).get(wanted) as Value
    for (const output of [...model.graph.outputs]) change.hide(output)
    for (const value of [loss, gradient]) change.expose(value)
    return { loss: loss.name, gradient: gradient.name }
  })
}

test('gradients pass through calls, calls in them and attributes', async () => {
  const model = importModel(message())
  const { loss, gradient } = squares(model)
  const found = numbersOf((await run(model))[gradient] as RuntimeTensor)
  const lossAt = async (at: number, step: number): Promise<number> => {
    const moved = Array.from(numbersOf(x), (each, i) => (i === at ? each + step : each))
    return numbersOf(
      (await run(model, { x: tensorOf('float32', [3, 2], moved) }))[loss] as RuntimeTensor,
    )[0] as number
  }
  for (const [at, each] of Array.from(found).entries()) {
    const numeric = ((await lossAt(at, 0.01)) - (await lossAt(at, -0.01))) / 0.02
    expect(Math.abs(each - numeric)).toBeLessThan(0.002 * (1 + Math.abs(numeric)))
  }
})

test('a function of another opset is written out where its operators are the same', () => {
  expect(() => squares(importModel(message(activation(17n))))).not.toThrow()
})

test.each([
  [
    'a newer opset',
    message(activation(19n)),
    'It is a function of the model, but its body is of opset 19 of ai.onnx, the model of 18: export the model with one opset.',
  ],
  [
    'an operator that changed',
    message({
      ...activation(17n),
      node: [
        node('ReduceMean', ['v'], ['r'], { attribute: [{ name: 'axes', type: 7, ints: [1n] }] }),
      ],
    }),
    'It is a function of the model, but its body is of opset 17 of ai.onnx, the model of 18, and ReduceMean changed in between: export the model with one opset.',
  ],
  [
    'a branch that depends on what is wanted',
    message(activation(18n), {
      ...layer,
      node: (layer.node ?? []).map((each) =>
        each.op_type === 'If'
          ? node('If', ['isLess'], ['number'], {
              attribute: [branch('then_branch', 'a', 'product'), branch('else_branch', 'c', 'two')],
            })
          : each,
      ),
    }),
    'Gradients do not flow through If, Loop and Scan: export the model without them.',
  ],
])('%s is refused with the reason', (_, given, suggestion) => {
  const refused = expect(() => squares(importModel(given)))
  refused.toThrow(
    expect.objectContaining({ code: 'GRADIENT_RULE_MISSING', suggestions: [suggestion] }),
  )
})

test('weights that a function reads are found by what they do, and trained', async () => {
  const model = importModel(message())
  const rows = 64
  const numbers = Array.from({ length: 2 * rows }, (_, i) => Math.sin(3 * i))
  const batches = sliceArrays(
    {
      x: tensorOf('float32', [rows, 2], numbers),
      labels: tensorOf(
        'int64',
        [rows],
        Array.from({ length: rows }, (_, row) => Number((numbers[2 * row] as number) > 0)),
      ),
    },
    portsOf(model),
    { what: 'test', batchSize: 16 },
  )
  const result = await train(model, {
    batches,
    method: { kind: 'lora', rank: 2, alpha: 2 },
    updates: 40,
    batchSize: 16,
    rate: 0.05,
    seed: 1,
    log: silentLog,
  })
  expect(result.weights.map(({ name }) => name)).toEqual(['w', 'v'])
  expect(result.best).toBeLessThan(result.before)
})
