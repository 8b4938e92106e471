/**
 * Choosing what to drop and re-fitting what stays, in one: optimal-brain-surgeon elimination on the
 * inputs of an output projection. With H = Σxᵀx/T + λI and W the projection [n, D], dropping unit u
 * costs tr(Wᵤᵀ (H⁻¹)ᵤᵤ⁻¹ Wᵤ) in squared output and is best answered by
 * W ← W − H⁻¹[:, u] (H⁻¹)ᵤᵤ⁻¹ Wᵤ (Hassibi & Stork 1993, structured as in ZipLM, 2023).
 * Units go in rounds: the cheapest are eliminated one by one among themselves, exactly, and the rest
 * hears of it in one product.
 */
import { invertLarge } from '../linear-algebra/inverse.js'
import { type Matrix, type Products, transpose } from '../linear-algebra/products.js'
import { withinGroups } from '../model/kernel-matrix.js'
import { letGoOf } from '../runtime/let-go.js'
import { type DampedMoments, invertDamped } from './damped-inverse.js'
import { costByGram, costOf, eliminate, gather } from './unit-cost.js'

export interface EliminationInput extends DampedMoments {
  /** [n, D], rows are inputs. */
  readonly weight: Float64Array
  readonly columns: number
  /** Σ xᵀδ over tokens, [n, D]: what the result should have more of; the weight is first moved to its best. */
  readonly missing?: Float64Array | undefined
  /** Of so many groups, inputs say nothing of another's outputs. */
  readonly groups?: number
}

export interface Ranking {
  /** Units in the order in which they are dropped. */
  readonly order: readonly number[]
  /** Squared output error per token after dropping that many, from 1 on. */
  readonly errors: readonly number[]
}

/** A round takes at most this share of the rows that are left. */
const roundShare = 1 / 16

export class Elimination implements Disposable {
  private total = 0

  private constructor(
    private readonly products: Products,
    /** Rows that there were, and those that are left. */
    private readonly n: number,
    private rows: readonly number[],
    private readonly d: number,
    /** [left, left] and [left, D]. */
    private inverse: Float64Array,
    private w: Float64Array,
  ) {}

  static async open(input: EliminationInput, products: Products): Promise<Elimination> {
    const { columns, tokens, groups = 1 } = input
    const n = Math.round(Math.sqrt(input.moments.length))
    const moments = withinGroups(input.moments, n, groups)
    const inverse = await invertDamped({ ...input, moments }, n, products)
    const w = input.weight.slice()
    if (input.missing) {
      const numbers = withinGroups(input.missing, columns, groups)
      const right: Matrix = { rows: n, columns, numbers }
      const step = (await products.multiply(inverse, right)).numbers
      const scale = 1 / Math.max(tokens, 1)
      for (let i = 0; i < w.length; i++) w[i] = (w[i] as number) + scale * (step[i] as number)
      letGoOf(step)
    }
    const rows = Array.from({ length: n }, (_, row) => row)
    return new Elimination(products, n, rows, columns, inverse.numbers, w)
  }

  /** Drops `count` of the units, cheapest first given what was dropped before; one stays. */
  async drop(units: readonly (readonly number[])[], count: number): Promise<Ranking> {
    const order: number[] = []
    const errors: number[] = []
    const left = new Map(units.entries())
    while (order.length < count) {
      const places = new Map(this.rows.map((row, place) => [row, place]))
      const costs: Candidate[] = []
      for (const [unit, rows] of left) {
        const own = rows.flatMap((row) => places.get(row) ?? [])
        if (own.length > 0)
          costs.push({
            unit,
            places: own,
            cost: costOf(this.inverse, this.w, this.rows.length, this.d, own),
          })
      }
      const most = Math.min(count - order.length, costs.length - 1)
      if (most <= 0) break
      const dropped = await this.round(
        costs.sort((a, b) => a.cost - b.cost || a.unit - b.unit),
        most,
      )
      for (const { unit, cost } of dropped) {
        this.total += cost
        order.push(unit)
        errors.push(this.total)
        left.delete(unit)
      }
      await this.dropPlaces(dropped.flatMap((each) => each.places))
    }
    return { order, errors }
  }

  /** Drops rows that were chosen elsewhere. */
  async dropRows(rows: readonly number[]): Promise<void> {
    const gone = new Set(rows)
    const places = this.rows.flatMap((row, place) => (gone.has(row) ? [place] : []))
    if (places.length > 0) await this.dropPlaces(places)
  }

  /** The projection now, [n, D] in the original order; dropped rows are zero. */
  weight(): Float64Array {
    const { d, w, n, rows } = this
    const result = new Float64Array(n * d)
    for (const [place, row] of rows.entries())
      result.set(w.subarray(place * d, (place + 1) * d), row * d)
    return result
  }

  /** Ends it: its matrices are as large as a block's weights, and there is one for each block. */
  [Symbol.dispose](): void {
    letGoOf(this.inverse, this.w)
  }

  /**
   * The units of one round, dropped one after another on matrices of the candidates alone: what a unit costs is said
   * by H⁻¹ and by products of rows of W, which are fewer numbers than the rows.
   */
  private async round(sorted: readonly Candidate[], most: number): Promise<Candidate[]> {
    const limit = Math.max(1, Math.ceil(this.rows.length * roundShare))
    const candidates: Candidate[] = []
    let size = 0
    for (const each of sorted) {
      if (candidates.length > 1 && size + each.places.length > 2 * limit) break
      candidates.push(each)
      size += each.places.length
    }
    const outside = sorted[candidates.length]?.cost ?? Number.POSITIVE_INFINITY
    const { d } = this
    const all = candidates.flatMap((each) => each.places)
    const inverse = gather(this.inverse, this.rows.length, all)
    const numbers = new Float64Array(size * d)
    for (const [to, from] of all.entries())
      numbers.set(this.w.subarray(from * d, (from + 1) * d), to * d)
    const w = { rows: size, columns: d, numbers }
    const across = transpose(w)
    const { numbers: gram } = await this.products.multiply(w, across)
    letGoOf(numbers, across.numbers)
    let at = 0
    const local = candidates.map((each) => {
      const places = each.places.map((_, index) => at + index)
      at += places.length
      return { each, places, cost: each.cost }
    })
    const dropped: Candidate[] = []
    let rows = 0
    while (dropped.length < most && local.length > 0) {
      let best = 0
      for (const [index, each] of local.entries()) {
        if (dropped.length > 0) each.cost = costByGram(inverse, gram, size, each.places)
        if (each.cost < (local[best] as { cost: number }).cost) best = index
      }
      const [chosen] = local.splice(best, 1)
      if (!chosen) break
      const { each, places, cost } = chosen
      // Units outside may by now be cheaper: they are looked at in the next round.
      if (dropped.length > 0 && (cost > outside || rows + places.length > limit)) break
      for (const place of places) eliminate(inverse, gram, size, place)
      dropped.push({ ...each, cost })
      rows += places.length
    }
    letGoOf(inverse, gram)
    return dropped
  }

  /** With u gone and s left: H⁻¹ₛₛ −= B K Bᵀ and Wₛ −= B K Wᵤ, where B = H⁻¹ₛᵤ and K = (H⁻¹ᵤᵤ)⁻¹. */
  private async dropPlaces(gone: readonly number[]): Promise<void> {
    const { d, products, inverse, w } = this
    const n = this.rows.length
    const isGone = new Set(gone)
    const stay = Array.from({ length: n }, (_, place) => place).filter(
      (place) => !isGone.has(place),
    )
    const u = gone.length
    const s = stay.length
    const square = { rows: u, columns: u, numbers: gather(inverse, n, gone) }
    const k = await invertLarge(square, products)
    const b = new Float64Array(s * u)
    // [Bᵀ | Wᵤ]
    const right = new Float64Array(u * (s + d))
    for (let j = 0; j < u; j++) {
      const place = gone[j] as number
      for (let i = 0; i < s; i++) {
        const value = inverse[(stay[i] as number) * n + place] as number
        b[i * u + j] = value
        right[j * (s + d) + i] = value
      }
      right.set(w.subarray(place * d, (place + 1) * d), j * (s + d) + s)
    }
    const bk = await products.multiply({ rows: s, columns: u, numbers: b }, k)
    const change = await products.multiply(bk, { rows: u, columns: s + d, numbers: right })
    const delta = change.numbers
    // In place: what is written lies before what is still to be read.
    for (let i = 0; i < s; i++) {
      const from = stay[i] as number
      const at = i * (s + d)
      for (let j = 0; j < s; j++)
        inverse[i * s + j] =
          (inverse[from * n + (stay[j] as number)] as number) - (delta[at + j] as number)
      for (let c = 0; c < d; c++)
        w[i * d + c] = (w[from * d + c] as number) - (delta[at + s + c] as number)
    }
    letGoOf(square.numbers, k.numbers, b, right, bk.numbers, delta)
    this.inverse = inverse.subarray(0, s * s)
    this.w = w.subarray(0, s * d)
    this.rows = stay.map((place) => this.rows[place] as number)
  }
}

interface Candidate {
  readonly unit: number
  readonly places: readonly number[]
  readonly cost: number
}
