/** Models of older opsets are trained as models of a later one, where all of their nodes mean the same there. */
import { expect, it } from 'vitest'
import { addGradients } from '../../src/gradients/gradients.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { useIntegers } from '../../src/quantize/integers.js'
import { digestOfMatrix } from '../../src/quantize/places.js'
import { findQuantizable } from '../../src/quantize/quantizable.js'
import { inferShapes } from '../../src/shape/infer.js'
import { type Builder, build } from '../axes/builder.js'
import { runModel } from '../zoo/compare.js'

const feeds = {
  x: tensorOf(
    'float32',
    [2, 4, 6],
    Float32Array.from({ length: 48 }, (_, i) => Math.sin(i)),
  ),
}

const old = (opset: number, write: (b: Builder, x: Value) => Value): Model => {
  const model = build((b) => {
    const loss = b.op('ReduceSum', [write(b, b.input('x', [2, 4, 6]))], { keepdims: 0 })
    b.declare(loss, [])
    return loss
  })
  model.opsets.set('', opset)
  return model
}

/** The loss, and its gradient by the input where that is asked for. */
async function run(model: Model, hasGradient: boolean): Promise<number[][]> {
  if (hasGradient)
    edit(model.graph, 'test', (change) => {
      const [x, loss] = [model.graph.inputs[0], model.graph.outputs[0]] as [Value, Value]
      change.expose(addGradients(change, loss, [x]).get(x) as Value)
    })
  const [found = {}] = await runModel(model, [feeds])
  return Object.values(found).map((each) => [...numbersOf(each as RuntimeTensor)].map(Number))
}

it.each([11, 12, 13, 15])('opset %i: axes and sizes as they were written then', async (opset) => {
  const open = () =>
    old(opset, (b, x) => {
      // From opset 13 on they are inputs.
      const listed = (op: string, value: Value, ...axes: number[]): Value =>
        opset < 13 ? b.op(op, [value], { axes }) : b.op(op, [value, b.integers(...axes)])
      const shares = b.op('Softmax', [b.op('MatMul', [x, b.weight(6, 6)])], { axis: 2 })
      const wide = listed('Squeeze', listed('Unsqueeze', shares, 1), 1)
      const kept = b.op('Dropout', [wide])
      const sums = listed('ReduceSum', b.op('Mul', [kept, x]), 2)
      return b.op('Mul', [sums, sums])
    })
  const [[loss] = []] = await run(open(), false)
  const [[again] = [], gradient = []] = await run(open(), true)
  expect(again).toBeCloseTo(loss as number, 5)
  expect(gradient.some((number) => Math.abs(number) > 1e-3)).toBe(true)
})

it.each([
  [
    'a softmax over all axes behind one',
    11,
    (b: Builder, x: Value) => b.op('Softmax', [x], { axis: 1 }),
    '"build/Softmax" (Softmax) means something else in it',
  ],
  [
    'an opset whose ranges are attributes',
    10,
    (b: Builder, x: Value) => b.op('Relu', [x]),
    'what is older than 11 is not raised',
  ],
])('%s is refused', (_, opset, write, why) => {
  const { graph } = old(opset, write)
  const [x, loss] = [graph.inputs[0], graph.outputs[0]] as [Value, Value]
  expect(() => edit(graph, 'test', (change) => addGradients(change, loss, [x]))).toThrow(
    `The model is of opset ${opset}; gradients need 16, and ${why}.`,
  )
})

it('products of 8-bit integers make a model of opset 11 one of 13', async () => {
  // Weights of less than 1,024 numbers stay as they are.
  const open = () =>
    old(11, (b, x) => {
      const wide = b.op('Unsqueeze', [b.linear(x, 6, 200)], { axes: [1] })
      return b.linear(b.op('Squeeze', [wide], { axes: [1] }), 200, 6)
    })
  const model = open()
  const { weights } = findQuantizable(model.graph, inferShapes(model.graph))
  edit(model.graph, 'test', (change) =>
    useIntegers(
      change,
      weights.map((each) => ({
        name: each.value.name,
        digest: digestOfMatrix(each),
        low: -4,
        high: 4,
      })),
      'slice',
    ),
  )
  const [[loss] = []] = await run(open(), false)
  const [[rounded] = []] = await run(model, false)
  expect(model.opsets.get('')).toBe(13)
  expect(rounded).toBeCloseTo(loss as number, 0)
  expect(rounded).not.toBe(loss)
})
