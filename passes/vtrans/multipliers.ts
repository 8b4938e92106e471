/** λ₁ and λ₂ of the Lagrangian, by Adam upwards: they rise while the sparsity misses its target. */

/** 0.1 over the 4,000 updates of the published runs: shorter ones push harder. */
const PACE = 400

export class Multipliers {
  readonly values = [0, 0]
  private readonly momentum = [0, 0]
  private readonly variance = [0, 0]
  private readonly rate: number
  private count = 0

  constructor(updates: number) {
    this.rate = PACE / updates
  }

  /** One step up the gradient of λ₁·gap + λ₂·gap². */
  rise(gap: number): void {
    this.count++
    for (const [index, slope] of [gap, gap * gap].entries()) {
      const m = 0.9 * (this.momentum[index] as number) + 0.1 * slope
      const v = 0.999 * (this.variance[index] as number) + 0.001 * slope * slope
      this.momentum[index] = m
      this.variance[index] = v
      const deviation = Math.sqrt(v / (1 - 0.999 ** this.count)) + 1e-8
      const step = m / (1 - 0.9 ** this.count) / deviation
      this.values[index] = (this.values[index] as number) + this.rate * step
    }
  }
}
