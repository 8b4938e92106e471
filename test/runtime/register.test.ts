import { readFileSync } from 'node:fs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { afterAll, describe, expect, it } from 'vitest'
import '../../src/runtime/register.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findAddon } from '../../src/runtime/native/library.js'
import { type AttentionCase, attentionCases, sparseNode } from '../kernels/cases.js'
import { expectEqual } from '../kernels/difference.js'
import { oneNode, runReference } from '../kernels/one-node.js'

const isBuilt = findAddon() !== undefined
if (!isBuilt)
  process.stderr.write(
    'skipped: the session addon is not built; "npm run build:native" builds it\n',
  )

describe.runIf(isBuilt)('a session of onnxruntime-node after attnc/register', () => {
  const each = attentionCases[4] as AttentionCase
  const node = sparseNode(each)
  const { model, feeds } = oneNode({ ...node, isLoose: true })
  const file = materialise(model)
  afterAll(() => file.dispose())
  const tensors = Object.fromEntries(
    Object.entries(feeds).map(([name, { dataType, data, dims }]) => [
      name,
      new Tensor(dataType as 'float32', data as Float32Array, dims),
    ]),
  )

  it.each([
    ['a path', () => file.path],
    ['bytes', () => readFileSync(file.path)],
  ])('opened by %s runs the operators', async (_what, read) => {
    const session = await InferenceSession.create(read() as string)
    expect(session.inputNames).toContain('block_rows')
    expect(session.outputMetadata[0]).toMatchObject({ isTensor: true, type: 'float32' })
    const results = await session.run(tensors)
    const found = Object.values(results).map(({ dims, data }) => ({
      dataType: 'float32' as const,
      dims,
      data: data as Float32Array,
    }))
    expectEqual(found, runReference(node), each)
    await session.release()
  })

  it('has the kernels: their refusal names the operator', async () => {
    const session = await InferenceSession.create(file.path, { logSeverityLevel: 4 })
    const wrong = { ...tensors, block_rows: new Tensor('int32', new Int32Array(2), [1, 2]) }
    await expect(session.run(wrong)).rejects.toThrow(/attnc.BlockSparseAttention: "block_rows"/)
    await session.release()
  })

  it('leaves providers that are named to onnxruntime-node', async () => {
    const session = await InferenceSession.create(file.path, { executionProviders: ['cpu'] })
    const output = Object.values(await session.run(tensors))[0] as Tensor
    expect(output.dims).toEqual([2, 4, 150, 64])
    await session.release()
  })

  it('refuses strings by the input’s name', async () => {
    const session = await InferenceSession.create(file.path)
    const wrong = { ...tensors, key: new Tensor('string', ['a'], [1]) }
    await expect(session.run(wrong)).rejects.toThrow(/"key" is no tensor of numbers/)
    await session.release()
  })
})
