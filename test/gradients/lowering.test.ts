/** Fused attention written out, against ONNX Runtime's own. */
import { expect, test } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { addGradients } from '../../src/gradients/gradients.js'
import { lowerNodes } from '../../src/gradients/lower/lower.js'
import { edit } from '../../src/graph/edit.js'
import { type Attribute, Model, type Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { runBatches } from '../../src/runtime/batches.js'

const causal = { is_causal: { kind: 'int', value: 1n } } as const
const float = (value: number): Attribute => ({ kind: 'float', value })

const cases: readonly [title: string, attributes: Record<string, Attribute>, hasBias: boolean][] = [
  ['plain', {}, false],
  ['a bias', {}, true],
  ['causal', causal, false],
  ['a scale of its own', { scale: float(0.7) }, true],
  // A low cap: a key that is hidden has to stay hidden behind it, and a bias is not capped.
  ['a soft cap', { ...causal, softcap: float(0.5) }, true],
]

const dims = [1, 2, 4, 8]
const names = ['query', 'key', 'value']

test.each(cases)('Attention written out is what it was: %s', async (_, attributes, hasBias) => {
  const next = generator(5)
  const draw = (shape: readonly number[]) =>
    tensorOf(
      'float32',
      shape,
      Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 4 * next() - 2),
    )
  const feeds: Record<string, ReturnType<typeof draw>> = Object.fromEntries(
    names.map((name) => [name, draw(dims)]),
  )
  if (hasBias) feeds['bias'] = draw([1, 1, 4, 4])
  const run = async (isWritten: boolean): Promise<Float32Array> => {
    const model = new Model()
    model.opsets.set('', 23)
    model.irVersion = 10
    edit(model.graph, 'attention', (change) => {
      const inputs = Object.entries(feeds).map(([name, { dims: shape }]) =>
        change.addInput(name, 'float32', shape),
      )
      const output = change.add('Attention', inputs, { attributes, output: 'output' })
      change.setType(output, { dataType: 'float32', dims })
      const { producer } = output
      const [written] =
        isWritten && producer ? [...lowerNodes(change, [producer]).values()] : [output]
      change.expose(written ?? output)
    })
    let found = new Float32Array()
    await runBatches(model, [{ feeds }], { log: silentLog }, undefined, (results) => {
      found = Object.values(results)[0]?.data as Float32Array<ArrayBuffer>
    })
    return found
  }
  const [fused, written] = [await run(false), await run(true)]
  expect(written.length).toBe(fused.length)
  for (const [i, each] of written.entries()) expect(each).toBeCloseTo(fused[i] as number, 4)
})

test('x·σ(x) is kept as x alone, unless σ(x) is read elsewhere', () => {
  const operators = (isReadTwice: boolean): string[] => {
    const model = new Model()
    model.opsets.set('', 17)
    edit(model.graph, 'swish', (change) => {
      const x = change.addInput('x', 'float32', ['n'])
      const sigmoid = change.add('Sigmoid', [x])
      const swish = change.add('Mul', [sigmoid, x])
      const sum = change.add('ReduceSum', [
        isReadTwice ? change.add('Add', [swish, sigmoid]) : change.add('Tanh', [swish]),
      ])
      const gradient = addGradients(change, sum, [x]).get(x) as Value
      change.expose(gradient)
    })
    return [...model.graph.nodes()].map(({ op }) => op).slice(0, 3)
  }
  expect(operators(false)).toContain('QuickGelu')
  expect(operators(true)).not.toContain('QuickGelu')
})
