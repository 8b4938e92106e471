import { afterEach, describe, expect, it } from 'vitest'
import { fromColumns } from '../../kernels/block-sparse-attention/layout.js'
import { denseLayout } from '../../kernels/block-sparse-attention/patterns.js'
import type { StreamAttributes } from '../../kernels/stream-attention/index.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { findAddon, findKernelLibrary } from '../../src/runtime/native/library.js'
import { type AttentionCase, attentionCases, gatherNode, sparseNode } from './cases.js'
import { expectEqual } from './difference.js'
import { type OneNode, openKernel, runKernel, runReference } from './one-node.js'
import { selectCases, selectNode } from './select-cases.js'
import { expectSteps, type StreamCase, streamCases, streamSteps } from './stream-cases.js'

const addon = findAddon()
const library = findKernelLibrary()
const isBuilt = addon !== undefined && library !== undefined
if (!isBuilt)
  process.stderr.write('skipped: kernels are not built; "npm run build:native" builds them\n')

const before = process.env['ATTNC_INSTRUCTION_SET']
afterEach(() => {
  if (before === undefined) delete process.env['ATTNC_INSTRUCTION_SET']
  else process.env['ATTNC_INSTRUCTION_SET'] = before
})

/** Those that this processor has. */
const instructionSets = ['avx512', 'avx2', 'baseline'].filter((name) => {
  process.env['ATTNC_INSTRUCTION_SET'] = name
  return isBuilt && addon.instructionSet(library) === name
})

const zeros = (...dims: number[]): RuntimeTensor => ({
  dataType: 'float32',
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b, 1)),
})
const whole = (dims: number[], ...values: number[]): RuntimeTensor => ({
  dataType: 'int32',
  dims,
  data: Int32Array.from(values),
})

const long = (dims: number[], ...values: number[]): RuntimeTensor => ({
  dataType: 'int64',
  dims,
  data: BigInt64Array.from(values, BigInt),
})

const firstStep = (each: StreamCase) =>
  [...streamSteps(each)][0] as { node: OneNode<StreamAttributes> }

/** The first batch of a tensor. */
const first = ({ dataType, dims, data }: RuntimeTensor): RuntimeTensor => ({
  dataType,
  dims: [1, ...dims.slice(1)],
  data: data.slice(0, data.length / (dims[0] as number)),
})

describe.runIf(isBuilt).each(instructionSets)('the %s kernels of block attention', (name) => {
  it.each(attentionCases)('equal the reference with a layout: $title', async (each) => {
    process.env['ATTNC_INSTRUCTION_SET'] = name
    const node = { ...sparseNode(each), outputs: 2 }
    expectEqual(await runKernel(node), runReference(node), each)
  })

  it('computes exponentials within 2.5e-7 + 1e-7·|x|, and 0 where float32 has none', () => {
    process.env['ATTNC_INSTRUCTION_SET'] = name
    const points = Float32Array.from({ length: 100_000 }, (_, index) => -index * 0.000873)
    const results = points.slice()
    addon?.exponential(library as string, results)
    let worst = 0
    for (const [index, x] of points.entries()) {
      const exact = Math.exp(x)
      const error = Math.abs((results[index] as number) - exact) / exact
      worst = Math.max(worst, error / (2.5e-7 + 1e-7 * Math.abs(x)))
    }
    expect(worst).toBeLessThan(1)
    const ends = Float32Array.of(-88, -1e30, Number.NEGATIVE_INFINITY, Number.NaN)
    addon?.exponential(library as string, ends)
    expect([...ends]).toEqual([0, 0, 0, Number.NaN])
  })
})

describe.runIf(isBuilt)('the kernel of GatherBlockAttention', () => {
  it.each(attentionCases)('equals the reference: $title', async (each) => {
    const node = { ...gatherNode(each), outputs: 2 }
    expectEqual(await runKernel(node), runReference(node), each)
  })

  it.each<[string, RuntimeTensor, string]>([
    [
      'another batch',
      whole([2, 1, 3, 1], 0, 0, 0, 0, 0, 0),
      '[2, 1, 3, 1]; expected int32 [1, any',
    ],
    [
      'too few rows',
      whole([1, 1, 1, 1], 0),
      '[1, 1, 1, 1]; expected 3 or more blocks of 16 queries',
    ],
  ])('refuses a table of %s', async (_what, table, message) => {
    const node = gatherNode(attentionCases[2] as AttentionCase)
    const [query, key, value] = node.inputs.map((each) => each && first(each))
    await using kernel = await openKernel({
      ...node,
      inputs: [query, key, value, whole([1, 1, 3, 1], 0, 0, 0)],
    })
    const run = kernel.run({ inputs: [query, key, value, table] })
    await expect(run).rejects.toThrow(`attnc.GatherBlockAttention: "block_indices" is ${message}`)
  })
})

describe.runIf(isBuilt).each(instructionSets)('the %s kernel of StreamAttention', (name) => {
  it.each(streamCases)('equals the reference: $title', async (each) => {
    process.env['ATTNC_INSTRUCTION_SET'] = name
    await using kernel = await openKernel(firstStep(each).node)
    await expectSteps(each, (step) => kernel.run(step))
  })
})

describe.runIf(isBuilt).each(instructionSets)('the %s kernel of BlockSelect', (name) => {
  it.each(selectCases)('equals the reference: $title', async (each) => {
    process.env['ATTNC_INSTRUCTION_SET'] = name
    const node = selectNode(each)
    const [indices, ...summary] = await runKernel(node)
    const [expected, ...expectedSummary] = runReference(node)
    expect(indices).toEqual(expected)
    expectEqual(summary, expectedSummary, { dataType: 'float32' })
  })
})

describe.runIf(isBuilt)('bad inputs of the kernel of StreamAttention', () => {
  const find = (title: string) =>
    firstStep(streamCases.find((each) => each.title.startsWith(title)) as StreamCase).node

  it.each<[string, OneNode<StreamAttributes>, Record<string, RuntimeTensor>, string]>([
    [
      'a cache of another size',
      find('a window that slides'),
      { past_key: zeros(1, 2, 5, 32) },
      '"past_key" is [1, 2, 5, 32]; expected float32 [1, 2, 4, 32]',
    ],
    [
      'a position that jumps',
      find('a window that slides'),
      { positions: long([1, 1], 7), past_slots: long([1, 1, 4], 1, 0, 0, 0) },
      '"positions" [0, 0] is 7; expected 1',
    ],
    [
      'more frequencies than pairs',
      find('compact positions, half'),
      { rotary_frequencies: zeros(17) },
      '"rotary_frequencies" is [17]; expected 1 to 16 numbers',
    ],
  ])('refuses %s by name', async (_what, node, wrong, message) => {
    await using kernel = await openKernel(node)
    const inputs = node.inputs.map(
      (input, at) => wrong[node.kernel.inputs[at]?.name ?? ''] ?? input,
    )
    await expect(kernel.run({ inputs })).rejects.toThrow(`attnc.StreamAttention: ${message}`)
  })
})

describe.runIf(isBuilt)('bad inputs of the kernel', () => {
  const each: AttentionCase = {
    title: '',
    sizes: [1, 4, 2, 32, 32, 16, 16],
    attributes: { queryBlock: 16, keyBlock: 16, causal: true },
    layout: denseLayout({ queries: 32, keys: 32, queryBlock: 16, keyBlock: 16 }, true),
  }
  it.each<[string, Record<string, RuntimeTensor>, string]>([
    [
      'a key of another head size',
      { key: zeros(1, 2, 32, 8) },
      '"key" is [1, 2, 32, 8]; expected float32 [1, any, any, 16]',
    ],
    [
      'a value of fewer tokens',
      { value: zeros(1, 2, 30, 16) },
      '"value" is [1, 2, 30, 16]; expected float32 [1, 2, 32, any]',
    ],
    [
      'heads that share unevenly',
      { key: zeros(1, 3, 32, 16), value: zeros(1, 3, 32, 16) },
      "4 query heads can't share 3 key-value heads",
    ],
    [
      'more queries than keys',
      { key: zeros(1, 2, 8, 16), value: zeros(1, 2, 8, 16) },
      "32 queries can't be the last of 8 keys",
    ],
    [
      'rows that fall',
      { block_rows: whole([1, 3], 0, 2, 1) },
      '"block_rows" [0, 2] is 1; expected 2 to 3, rising',
    ],
    [
      'rows beyond the columns',
      { block_rows: whole([1, 3], 0, 1, 9) },
      '"block_rows" [0, 2] is 9; expected 1 to 3',
    ],
    [
      'too few rows',
      { block_rows: whole([1, 2], 0, 1) },
      '"block_rows" has 1 rows of 16 queries; positions up to 32 need 2',
    ],
    ['no rows at all', { block_rows: whole([1, 0]) }, '"block_rows" has -1 rows'],
    [
      '3 layouts for 4 heads',
      {
        block_rows: whole([3, 3], 0, 0, 0, 0, 0, 0, 0, 0, 0),
        block_columns: whole([3, 1], 0, 0, 0),
      },
      '"block_rows" has 3 layouts for 4 query',
    ],
  ])('refuses %s by name', async (_what, wrong, message) => {
    const node = sparseNode(each)
    await using kernel = await openKernel(node)
    const run = kernel.run({
      inputs: node.inputs.map((input, at) => wrong[node.kernel.inputs[at]?.name ?? ''] ?? input),
    })
    await expect(run).rejects.toThrow(`attnc.BlockSparseAttention: ${message}`)
  })

  it('passes over columns that are no blocks of the keys', async () => {
    const layout = fromColumns([
      [
        [0, -7, 2 ** 31 - 1],
        [1, 0, 1000],
      ],
    ])
    const [output] = await runKernel(sparseNode({ ...each, layout }))
    const [expected] = await runKernel(
      sparseNode({ ...each, layout: fromColumns([[[0], [1, 0]]]) }),
    )
    expect(output?.data).toEqual(expected?.data)
  })
})
