/** Parts of a model in half precision run on a CPU although nothing reads the caches that its attention gives. */
import { expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { Model, type Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { toAttribute } from '../../src/node-builder/node-builder.js'
import { type RuntimeTensor, tensorOf, toConstant } from '../../src/onnx/numbers.js'
import { runBatches } from '../../src/runtime/batches.js'

// B texts of S tokens, H heads of D
const [B, S, H, D] = [2, 6, 2, 8]

function attention(): Model {
  const model = new Model()
  model.irVersion = 8
  model.opsets.set('', 17)
  model.opsets.set('com.microsoft', 1)
  edit(model.graph, 'test', (change) => {
    const half = (name: string, ...dims: (number | string)[]): Value =>
      change.addInput(name, 'float16', dims)
    const x = half('x', 'batch', 'tokens', H * D)
    const weight = change.constant(
      toConstant(tensorOf('float16', [H * D, H * D], Array(H * D * H * D).fill(0.1))),
    )
    const project = (value: Value): Value => change.add('MatMul', [value, weight])
    const lengths = change.addInput('lengths', 'int32', ['batch'])
    const total = change.addInput('total', 'int32', [])
    const attend = (value: Value, layer: number): Value => {
      const past = ['Key', 'Value'].map((name) =>
        half(`past${name}${layer}`, 'batch', H, 'past', D),
      )
      const node = change.addNode({
        op: 'GroupQueryAttention',
        domain: 'com.microsoft',
        inputs: [project(value), project(value), project(value), ...past, lengths, total],
        outputs: [`seen${layer}`, 'presentKey', 'presentValue'],
        attributes: { num_heads: toAttribute(H), kv_num_heads: toAttribute(H) },
      })
      return node.outputs[0] as Value
    }
    const first = attend(x, 0)
    const second = attend(project(first), 1)
    change.expose(project(second))
  })
  return model
}

const drawn = (...dims: number[]): RuntimeTensor =>
  tensorOf(
    'float16',
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)),
  )

it('attention behind an empty cache in half precision', async () => {
  const model = attention()
  const before = model.graph.outputs.map(({ name }) => name)
  const feeds = {
    x: drawn(B, S, H * D),
    pastKey0: drawn(B, H, 0, D),
    pastValue0: drawn(B, H, 0, D),
    pastKey1: drawn(B, H, 0, D),
    pastValue1: drawn(B, H, 0, D),
    lengths: tensorOf('int32', [B], [S - 1, S - 1]),
    total: tensorOf('int32', [], [S]),
  }
  const seen: Record<string, RuntimeTensor>[] = []
  const batches = [{ feeds, tokenMask: undefined, ids: [] }]
  await runBatches(model, batches, { log: silentLog, threads: 1 }, undefined, (results) => {
    seen.push(results)
  })
  expect(seen.map(Object.keys)).toEqual([before])
  expect(seen[0]?.[before[0] ?? '']?.dims).toEqual([B, S, H * D])
  expect(model.graph.outputs.map(({ name }) => name)).toEqual(before)
})
