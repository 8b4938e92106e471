import { expect, test } from 'vitest'
import { quantize } from '../../passes/quantize/index.js'
import { sparsify } from '../../passes/sparsify/index.js'
import { edit } from '../../src/graph/edit.js'
import type { Node } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { decidePlan } from '../../src/prune/decide.js'
import { toHalfPrecision } from '../../src/quantize/half.js'
import { inferShapes } from '../../src/shape/infer.js'
import { example } from '../commands/run-command.js'
import { type AttentionCase, attentionCases, sparseNode } from '../kernels/cases.js'
import { largestDifference } from '../kernels/largest-difference.js'
import { type OneNode, oneNode } from '../kernels/one-node.js'
import { type SelectCase, selectCases, selectNode } from '../kernels/select-cases.js'
import { type StreamCase, streamCases, streamSteps } from '../kernels/stream-cases.js'
import { runOnce } from '../runtime/run-once.js'

test("operators of attnc's own go to half precision, with the function that they call", async () => {
  const load = () => loadModel(example)
  const passes = [sparsify({ pattern: 'window:16+sinks:4' }), quantize({ precision: 'float16' })]
  const common = { single: true, log: silentLog }
  const { plan } = await decidePlan({ ...common, source: load(), passes })
  const source = load()
  const { check } = await applyToFolder({ ...common, source, plan, output: undefined })
  expect(check?.largest).toBeLessThan(1e-2)
  const { model } = source
  const shapes = inferShapes(model.graph)
  const own = [...model.graph.nodes()].filter(({ domain }) => domain === 'attnc')
  expect(own.length).toBeGreaterThan(0)
  for (const { inputs, outputs } of own)
    expect([inputs[0], outputs[0]].map((each) => each && shapes.dataType(each))).toEqual([
      'float16',
      'float16',
    ])
  // None that nothing calls is left behind.
  expect(model.functions.map(({ overload }) => overload)).toEqual([
    ...new Set(own.map(({ overload }) => overload)),
  ])
})

const [selection] = selectCases.filter(({ known }) => known)
const [stream] = streamCases.filter(({ attributes }) => attributes.heavy)
const [, second] = streamSteps(stream as StreamCase)

test.each<[string, OneNode<object>]>([
  ['BlockSparseAttention', { ...sparseNode(attentionCases[0] as AttentionCase), outputs: 2 }],
  ['BlockSelect', { ...selectNode(selection as SelectCase), isLoose: false }],
  ['StreamAttention', { ...(second?.node as OneNode<object>), isLoose: false }],
])('ports of %s that have a type of their own keep it', async (_, given) => {
  const { model, feeds } = oneNode(given)
  const before = await runOnce(model, feeds)
  edit(model.graph, 'half', (change) => toHalfPrecision(change, 'slice'))
  const shapes = inferShapes(model.graph)
  const own = [...model.graph.nodes()].find(({ domain }) => domain === 'attnc') as Node
  for (const side of ['inputs', 'outputs'] as const)
    expect(own[side].map((value) => value && shapes.dataType(value))).toEqual(
      own[side].map((value, at) => value && (given.kernel[side][at]?.type ?? 'float16')),
    )
  // Nothing stands between them and who reads them.
  for (const [at, value] of own.outputs.entries())
    expect(value?.isGraphOutput).toBe(given.kernel.outputs[at]?.type !== undefined)
  const after = await runOnce(model, feeds)
  for (const [name, tensor] of Object.entries(before)) {
    const other = after[name] as RuntimeTensor
    expect(other.dataType).toBe(tensor.dataType)
    if (tensor.dataType === 'float32')
      expect(largestDifference(numbersOf(tensor), numbersOf(other))).toBeLessThan(2e-2)
  }
})
