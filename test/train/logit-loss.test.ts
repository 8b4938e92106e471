/** The loss of scores and its gradient are worked out in single precision, also of a model that computes in half. */
import { expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { Model } from '../../src/graph/graph.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { inferShapes } from '../../src/shape/infer.js'
import { addLogitLoss } from '../../src/train/loss/logit-loss.js'
import { runModel } from '../zoo/compare.js'

// B samples of T places and V classes
const [B, T, V] = [2, 3, 5]
const drawn = (phase: number) =>
  Array.from({ length: B * T * V }, (_, i) => Math.sin(1.9 * i + phase))

async function run(type: 'float32' | 'float16'): Promise<Record<string, RuntimeTensor>> {
  const model = new Model()
  model.irVersion = 8
  model.opsets.set('', 18)
  const { graph } = model
  edit(graph, 'test', (change) => {
    const dims = [B, T, V]
    const logits = change.addInput('logits', type, dims)
    const answers = change.addInput('answers', type, dims)
    const targets = change.addInput('targets', 'int64', [B, T])
    const weights = change.addInput('weights', 'float32', [B, T])
    const b = new NodeBuilder(change, inferShapes(graph))
    const found = addLogitLoss(b, {
      logits,
      targets,
      weights,
      taskShare: 0.4,
      teacher: [answers, 0.6],
    })
    change.expose(found.loss)
    change.expose(found.known.gradient)
  })
  const feeds = {
    logits: tensorOf(type, [B, T, V], drawn(0)),
    answers: tensorOf(type, [B, T, V], drawn(1)),
    targets: tensorOf('int64', [B, T], [0, 4, 1, 2, 3, 0]),
    weights: tensorOf('float32', [B, T], [1, 1, 0, 1, 0.5, 1]),
  }
  return (await runModel(model, [feeds]))[0] ?? {}
}

it('scores and answers in half precision', async () => {
  const [single, half] = [await run('float32'), await run('float16')].map(Object.values)
  for (const [index, tensor] of (single as RuntimeTensor[]).entries()) {
    const other = (half as RuntimeTensor[])[index] as RuntimeTensor
    expect(other.dataType).toBe('float32')
    const numbers = [...numbersOf(other)].map(Number)
    for (const [at, number] of [...numbersOf(tensor)].map(Number).entries())
      expect(numbers[at]).toBeCloseTo(number, 3)
  }
})
