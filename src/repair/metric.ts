/**
 * Errors measured in a metric G on the outputs of a projection: with G = L·Lᵀ, W·L is chosen and fitted
 * as if plain, and its result is turned back. Elimination mixes rows only, so the two commute.
 */
import { cholesky } from '../linear-algebra/cholesky.js'
import { invertLarge } from '../linear-algebra/inverse.js'
import { type Matrix, type Products, transpose } from '../linear-algebra/products.js'

/** Share of the mean diagonal that is added to G: it is known from few tokens (docs/passes/amp.md). */
const damping = 5

export class Metric {
  private constructor(
    private readonly factor: Matrix,
    private readonly inverse: Matrix,
    private readonly products: Products,
  ) {}

  static async of(g: Float64Array, products: Products): Promise<Metric> {
    const d = Math.round(Math.sqrt(g.length))
    let trace = 0
    for (let i = 0; i < d; i++) trace += g[i * d + i] as number
    const numbers = g.slice()
    const lift = Math.max((damping * trace) / d, Number.MIN_VALUE * 2 ** 60)
    for (let i = 0; i < d; i++) numbers[i * d + i] = (numbers[i * d + i] as number) + lift
    const inverse = await invertLarge({ rows: d, columns: d, numbers }, products)
    const lower = cholesky(numbers, d)
    for (let i = 0; i < d; i++) lower.fill(0, i * d + i + 1, (i + 1) * d)
    const factor = { rows: d, columns: d, numbers: lower }
    // L⁻¹ = Lᵀ·G⁻¹
    return new Metric(factor, await products.multiply(transpose(factor), inverse), products)
  }

  /** [n, D] → W·L */
  async turn(weight: Float64Array): Promise<Float64Array> {
    return (await this.products.multiply(this.rowsOf(weight), this.factor)).numbers
  }

  /** W·L → W */
  async turnBack(weight: Float64Array): Promise<Float64Array> {
    return (await this.products.multiply(this.rowsOf(weight), this.inverse)).numbers
  }

  private rowsOf(numbers: Float64Array): Matrix {
    const { columns } = this.factor
    return { rows: numbers.length / columns, columns, numbers }
  }
}
