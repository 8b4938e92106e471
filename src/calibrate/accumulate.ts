/** Results of one batch added to the sums, rows of the triangle of moments at a time. */
import { AttncError } from '../errors.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { type Feedable, tokenMaskOf } from '../runtime/batches.js'
import type { ExactSums } from './exact-sums.js'
import type { Instrument, Watch } from './instrument.js'
import type { Sums } from './statistics.js'

type Results = Readonly<Record<string, RuntimeTensor>>

/** Adds one batch to the sums of a watched value. Error: CALIBRATION_NOT_FINITE. */
export function accumulate(
  sums: Sums,
  { watch, shape, mask, absolute, moments }: Instrument,
  results: Results,
  batch: Feedable,
  stride: number,
): void {
  const { tokens, sampled, repeats } = countTokens(
    batch,
    shape ? results[shape] : undefined,
    mask,
    stride,
  )
  const totals = results[absolute]?.data as Float32Array
  const { size } = sums
  // Where rows are no tokens, the samples of a batch are counted as that many equal prompts.
  for (const [prompt, count] of tokens.entries())
    for (let i = 0; i < size && count > 0; i++)
      sums.absolute.add(i, finite((totals[prompt * size + i] as number) * (repeats / count), watch))
  const prompts = tokens.filter((count) => count > 0).length
  sums.count(prompts * repeats, sampled, prompts)
  if (!sums.moments) return
  for (const { row, column, output } of moments) {
    const part = results[output] as RuntimeTensor
    const [height = 0, width = 0] = part.dims
    for (let i = 0; i < height; i++) {
      const from = row === column ? i : 0
      // Row r of the triangle begins at r·n − r·(r − 1)/2 and with column r.
      const r = row + i
      const start = r * size - (r * (r - 1)) / 2 - r + column
      addRow(
        sums.moments,
        part.data as Float32Array,
        i * width + from,
        width - from,
        start + from,
        watch,
      )
    }
  }
}

function addRow(
  to: ExactSums,
  numbers: Float32Array,
  from: number,
  count: number,
  at: number,
  watch: Watch,
): void {
  const odd = to.addAll(numbers, from, count, at)
  if (odd >= 0) finite(numbers[odd] as number, watch)
}

interface TokenCounts {
  /** Rows of each prompt. */
  readonly tokens: readonly number[]
  readonly sampled: number
  /** Samples that each prompt stands for. */
  readonly repeats: number
}

function countTokens(
  batch: Feedable,
  shape: RuntimeTensor | undefined,
  maskName: string | undefined,
  stride: number,
): TokenCounts {
  if (shape) {
    const rows = Number(shape.data[0])
    const samples = Object.values(batch.feeds)[0]?.dims[0] ?? 1
    return { tokens: [rows], sampled: Math.ceil(rows / stride), repeats: samples }
  }
  const own = tokenMaskOf(batch, maskName)
  const [count = 0, length = 0] = own?.dims ?? []
  const mask = own?.data as Float32Array
  const tokens = Array.from({ length: count }, (_, row) => {
    let sum = 0
    for (let i = row * length; i < (row + 1) * length; i++) sum += mask[i] as number
    return sum
  })
  const total = tokens.reduce((sum, each) => sum + each, 0)
  return { tokens, sampled: Math.ceil(total / stride), repeats: 1 }
}

function finite(value: number, watch: Watch): number {
  if (Number.isFinite(value)) return value
  throw new AttncError(
    'CALIBRATION_NOT_FINITE',
    'numeric',
    `What the output projection of "${watch.key}" reads is ${value} for some of this data.`,
    {
      suggestions: [
        'Look for NaN or infinite numbers in the data and the weights; half-precision models can overflow.',
      ],
    },
  )
}
