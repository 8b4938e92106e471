/**
 * Rounding with feedback (Frantar et al. 2023, GPTQ): inputs are rounded one after another, and what each
 * loses is made good by those not rounded yet. With H = Σxᵀx/T + λI and H⁻¹ = UᵀU, input k off by e is
 * answered by w_j −= e·U_kj/U_kk for j > k. Where the stream has gone wrong before, the weight is first
 * moved to its best for what it now reads (as GPTAQ, 2025, in closed form).
 */
import { cholesky } from '../../src/linear-algebra/cholesky.js'
import type { Products } from '../../src/linear-algebra/products.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { blocksOf, type Codes, closestStep, codeOf, type Grid } from '../../src/quantize/grid.js'
import { invertDamped } from '../../src/repair/damped-inverse.js'

/** Inputs whose errors are told to the rest at once, in one product. */
const BATCH = 64

/** Inputs as seen on data. */
export interface Seen {
  /** Σ xᵀx, [n, n]. */
  readonly moments: Float64Array
  readonly tokens: number
}

/** What does the work for all weights that read the same inputs. */
export class Feedback {
  private constructor(
    private readonly n: number,
    /** L of H⁻¹ = L·Lᵀ, so that U = Lᵀ. */
    private readonly lower: Float64Array,
    private readonly inverse: Float64Array,
    private readonly tokens: number,
    private readonly products: Products,
  ) {}

  static async of({ moments, tokens }: Seen, ridge: number, products: Products): Promise<Feedback> {
    const n = Math.round(Math.sqrt(moments.length))
    const inverse = (await invertDamped({ moments, tokens, ridge }, n, products)).numbers
    return new Feedback(n, cholesky(inverse.slice(), n), inverse, tokens, products)
  }

  /** W + H⁻¹·Σxᵀδ/T: what should be added to the products, added as far as the inputs can. */
  async adjust(weight: Float64Array, missing: Float64Array): Promise<Float64Array> {
    const { n, inverse, tokens } = this
    const columns = missing.length / n
    const step = await this.products.multiply(
      { rows: n, columns: n, numbers: inverse },
      { rows: n, columns, numbers: missing },
    )
    const scale = 1 / Math.max(tokens, 1)
    return weight.map((each, i) => each + scale * (step.numbers[i] as number))
  }

  /** Codes of a weight [n, outputs]. */
  async round(weight: Float64Array, grid: Grid, type: DataType): Promise<Codes> {
    const { n, lower } = this
    const w = weight.slice()
    const outputs = w.length / n
    const blocks = blocksOf(n, grid)
    const codes = new Uint8Array(outputs * n)
    const scales = new Float32Array(outputs * blocks)
    const zeros = new Uint8Array(outputs * blocks)
    for (let start = 0; start < n; start += BATCH) {
      const end = Math.min(start + BATCH, n)
      const errors = new Float64Array((end - start) * outputs)
      for (let k = start; k < end; k++) {
        const block = Math.floor(k / grid.block)
        if (k % grid.block === 0) this.setSteps(w, outputs, block, grid, type, scales, zeros)
        const error = errors.subarray((k - start) * outputs, (k - start + 1) * outputs)
        const pivot = lower[k * n + k] as number
        for (let c = 0; c < outputs; c++) {
          const place = c * blocks + block
          const [scale, zero] = [scales[place] as number, zeros[place] as number]
          const value = w[k * outputs + c] as number
          const code = codeOf(value, scale, zero, grid.bits)
          codes[c * n + k] = code
          error[c] = (value - scale * (code - zero)) / pivot
        }
        for (let j = k + 1; j < end; j++) subtract(w, j, error, lower[j * n + k] as number)
      }
      if (end < n) await this.tellTheRest(w, errors, start, end)
    }
    return { outputs, inputs: n, codes, scales, zeros }
  }

  /** Scales and zero points of one block of inputs, from what the weights have become. */
  private setSteps(
    w: Float64Array,
    outputs: number,
    block: number,
    grid: Grid,
    type: DataType,
    scales: Float32Array,
    zeros: Uint8Array,
  ): void {
    const first = block * grid.block
    const last = Math.min(first + grid.block, this.n)
    const blocks = blocksOf(this.n, grid)
    const values = new Float64Array(last - first)
    for (let c = 0; c < outputs; c++) {
      for (let k = first; k < last; k++) values[k - first] = w[k * outputs + c] as number
      const { scale, zero } = closestStep(values, grid, type)
      scales[c * blocks + block] = scale
      zeros[c * blocks + block] = zero
    }
  }

  /** Rows after `end` −= U[start…end, rest]ᵀ · errors. */
  private async tellTheRest(
    w: Float64Array,
    errors: Float64Array,
    start: number,
    end: number,
  ): Promise<void> {
    const { n, lower } = this
    const outputs = w.length / n
    const [rows, columns] = [n - end, end - start]
    const numbers = new Float64Array(rows * columns)
    for (let j = 0; j < rows; j++)
      numbers.set(lower.subarray((end + j) * n + start, (end + j) * n + end), j * columns)
    const change = await this.products.multiply(
      { rows, columns, numbers },
      { rows: columns, columns: outputs, numbers: errors },
    )
    for (let i = 0, at = end * outputs; i < change.numbers.length; i++, at++)
      w[at] = (w[at] as number) - (change.numbers[i] as number)
  }
}

/** Row `row` of w −= factor · error. */
function subtract(w: Float64Array, row: number, error: Float64Array, factor: number): void {
  if (factor === 0) return
  for (let c = 0, at = row * error.length; c < error.length; c++, at++)
    w[at] = (w[at] as number) - factor * (error[c] as number)
}
