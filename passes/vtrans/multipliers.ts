/**
 * λ₁ and λ₂ of the Lagrangian, by Adam upwards: they rise while the sparsity will miss its target. Units
 * that give way do so together, so what counts is the gap that its change leads to: else far more is masked
 * away than was asked for before the pressure falls, and what comes back is not what was worth most.
 */

/** How far they rise in all, at most; 0.1 over the 4,000 updates of the published runs is more (docs/benchmarks.md). */
const PACE = 150
/** Updates that are looked ahead. */
const AHEAD = 10

export class Multipliers {
  readonly values = [0, 0]
  private readonly momentum = [0, 0]
  private readonly variance = [0, 0]
  private readonly rate: number
  private count = 0
  private last: number | undefined

  constructor(updates: number) {
    this.rate = PACE / updates
  }

  /** One step up the gradient of λ₁·gap + λ₂·gap², the gap as it will be. */
  rise(gap: number): void {
    this.count++
    const coming = gap + AHEAD * (gap - (this.last ?? gap))
    this.last = gap
    for (const [index, slope] of [coming, coming * coming].entries()) {
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
