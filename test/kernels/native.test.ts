import { afterEach, describe, expect, it } from 'vitest'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { fromColumns } from '../../kernels/block-sparse-attention/layout.js'
import { denseLayout } from '../../kernels/block-sparse-attention/patterns.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findAddon, findKernelLibrary } from '../../src/runtime/native/library.js'
import { openNativeSession } from '../../src/runtime/native/session.js'
import {
  type AttentionCase,
  attentionCases,
  caseInputs,
  largestDifference,
  tolerance,
} from './cases.js'
import { oneNode } from './one-node.js'

const addon = findAddon()
const library = findKernelLibrary()
const isBuilt = addon !== undefined && library !== undefined
if (!isBuilt)
  process.stderr.write('skipped: kernels are not built; "npm run build:native" builds them\n')

async function runKernel(
  each: AttentionCase,
  change: (feeds: Record<string, RuntimeTensor>) => void = () => {},
): Promise<RuntimeTensor[]> {
  const { model, feeds } = oneNode(each, { outputs: 2, isLoose: true })
  const file = materialise(model)
  try {
    await using session = await openNativeSession({ path: file.path, threads: 2 })
    change(feeds)
    return Object.values(await session.run(feeds))
  } finally {
    file.dispose()
  }
}

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

describe.runIf(isBuilt).each(instructionSets)('the %s kernel of BlockSparseAttention', (name) => {
  it.each(attentionCases)('equals the reference: $title', async (each) => {
    process.env['ATTNC_INSTRUCTION_SET'] = name
    const results = await runKernel(each)
    const attributes = blockSparseAttention.attributes(each.attributes)
    const expected = blockSparseAttention.reference(caseInputs(each), attributes)
    const limit = (tolerance[each.dataType ?? 'float32'] as number) * (each.spread ?? 1)
    for (const [index, tensor] of expected.entries())
      expect(
        largestDifference(numbersOf(results[index] as RuntimeTensor), numbersOf(tensor)),
      ).toBeLessThan(limit)
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

describe.runIf(isBuilt)('bad inputs of the kernel', () => {
  const each: AttentionCase = {
    title: '',
    sizes: [1, 4, 2, 32, 32, 16, 16],
    attributes: { queryBlock: 16, keyBlock: 16, causal: true },
    layout: denseLayout({ queries: 32, keys: 32, queryBlock: 16, keyBlock: 16 }, true),
  }
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
    const run = runKernel(each, (feeds) => Object.assign(feeds, wrong))
    await expect(run).rejects.toThrow(`attnc.BlockSparseAttention: ${message}`)
  })

  it('passes over columns that are no blocks of the keys', async () => {
    const layout = fromColumns([
      [
        [0, -7, 2 ** 31 - 1],
        [1, 0, 1000],
      ],
    ])
    const [output] = await runKernel({ ...each, layout })
    const [expected] = await runKernel({ ...each, layout: fromColumns([[[0], [1, 0]]]) })
    expect(output?.data).toEqual(expected?.data)
  })
})
