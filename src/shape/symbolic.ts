/**
 * Sizes that may not be known: polynomials over named symbols with integer coefficients, in one
 * canonical form. What a polynomial can't express (a floor, a remainder, a maximum) becomes a symbol
 * whose name says how it came about, so that the same expression is the same size everywhere.
 */

/** Coefficient by monomial; a monomial is its symbols, sorted and joined by `*`; '' is the constant. */
type Terms = ReadonlyMap<string, number>

const SEPARATOR = '*'

const multiplyMonomials = (a: string, b: string): string =>
  a === ''
    ? b
    : b === ''
      ? a
      : [...a.split(SEPARATOR), ...b.split(SEPARATOR)].sort().join(SEPARATOR)

/** a/b for monomials, or undefined where b has a symbol that a lacks. */
function divideMonomials(a: string, b: string): string | undefined {
  const left = a === '' ? [] : a.split(SEPARATOR)
  for (const symbol of b === '' ? [] : b.split(SEPARATOR)) {
    const at = left.indexOf(symbol)
    if (at < 0) return undefined
    left.splice(at, 1)
  }
  return left.join(SEPARATOR)
}

/** ⌊of/by⌋, the meaning of a symbol made by a division. */
interface Floor {
  readonly of: Size
  readonly by: number
}

export class Size {
  private readonly key: string

  private constructor(
    private readonly terms: Terms,
    /** Symbols among the terms that stand for floors. */
    private readonly floors: ReadonlyMap<string, Floor> = new Map(),
  ) {
    this.key = [...terms]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([monomial, factor]) => `${factor}${SEPARATOR}${monomial}`)
      .join('+')
  }

  private static from(
    terms: Iterable<readonly [string, number]>,
    ...operands: readonly Size[]
  ): Size {
    const sum = new Map<string, number>()
    for (const [monomial, factor] of terms) sum.set(monomial, (sum.get(monomial) ?? 0) + factor)
    for (const [monomial, factor] of sum) if (factor === 0) sum.delete(monomial)
    const floors = operands.flatMap((each) => [...each.floors])
    return new Size(sum, new Map(floors))
  }

  /** A number, or a symbol by name. */
  static of(value: number | string): Size {
    if (typeof value === 'number') return Size.from([['', value]])
    return Size.from([[value.replaceAll(/[*+\s]/g, '_'), 1]])
  }

  /** A symbol named after an expression. */
  private static atom(text: string): Size {
    return Size.from([[text.replaceAll(SEPARATOR, '·').replaceAll('+', '⁺'), 1]])
  }

  /** The number, where it is one. */
  get value(): number | undefined {
    if (this.terms.size === 0) return 0
    return this.terms.size === 1 ? this.terms.get('') : undefined
  }

  get isOne(): boolean {
    return this.value === 1
  }

  get isZero(): boolean {
    return this.terms.size === 0
  }

  get symbols(): readonly string[] {
    return [
      ...new Set([...this.terms.keys()].flatMap((each) => (each ? each.split(SEPARATOR) : []))),
    ]
  }

  /** The terms of the sum: a factor times symbols, none for the constant. */
  get monomials(): readonly { readonly factor: number; readonly symbols: readonly string[] }[] {
    return [...this.terms].map(([monomial, factor]) => ({
      factor,
      symbols: monomial === '' ? [] : monomial.split(SEPARATOR),
    }))
  }

  /** The number for these sizes of the symbols; undefined where one is missing. */
  at(sizes: ReadonlyMap<string, number>): number | undefined {
    let total = 0
    for (const { factor, symbols } of this.monomials) {
      let product = factor
      for (const symbol of symbols) product *= sizes.get(symbol) ?? Number.NaN
      total += product
    }
    return Number.isNaN(total) ? undefined : total
  }

  equals(other: Size): boolean {
    return this.key === other.key
  }

  add(other: Size): Size {
    return Size.from([...this.terms, ...other.terms], this, other)
  }

  sub(other: Size): Size {
    return this.add(other.mul(Size.of(-1)))
  }

  mul(other: Size): Size {
    return Size.from(
      [...this.terms].flatMap(([a, x]) =>
        [...other.terms].map(([b, y]) => [multiplyMonomials(a, b), x * y] as const),
      ),
      this,
      other,
    )
  }

  /** this/other where that is a polynomial with integer coefficients. */
  divideExact(other: Size): Size | undefined {
    if (this.isZero && !other.isZero) return this
    if (this.equals(other) && !this.isZero) return Size.of(1)
    const [lead, ...rest] = other.sorted()
    if (!lead) return undefined
    // Long division by the leading monomial; it ends, as each step removes the largest one left.
    let left: Size = this
    let quotient = Size.of(0)
    for (let step = 0; !left.isZero; step++) {
      const [[monomial, factor] = ['', 0]] = left.sorted()
      const each = divideMonomials(monomial, lead[0])
      if (each === undefined || factor % lead[1] !== 0 || step > 64) return undefined
      const term = Size.from([[each, factor / lead[1]]], this, other)
      quotient = quotient.add(term)
      left = left.sub(term.mul(rest.length === 0 ? Size.from([lead], other) : other))
    }
    return quotient
  }

  /** this/other as a fraction of whole numbers, where it is one: 3·batch against 4·batch. */
  ratioTo(other: Size): readonly [number, number] | undefined {
    const [[, times] = ['', 0]] = this.sorted()
    const [[, over] = ['', 0]] = other.sorted()
    const isMultiple = this.mul(Size.of(over)).equals(other.mul(Size.of(times)))
    return times !== 0 && over !== 0 && isMultiple ? [times, over] : undefined
  }

  /** Terms by falling degree, then by name. */
  private sorted(): [string, number][] {
    const degree = (monomial: string): number => (monomial ? monomial.split(SEPARATOR).length : 0)
    return [...this.terms].sort(([a], [b]) => degree(b) - degree(a) || (a < b ? -1 : 1)) as [
      string,
      number,
    ][]
  }

  /** ⌊this/other⌋, as a symbol where it can't be worked out. */
  floorDiv(other: Size): Size {
    const exact = this.divideExact(other)
    if (exact) return exact
    const shared = this.sharedMonomial(other)
    if (shared) {
      const [a, b] = [this.divideExact(shared), other.divideExact(shared)]
      if (a && b) return a.floorDiv(b)
    }
    const by = other.value
    if (by === undefined || by <= 0 || !Number.isInteger(by))
      return Size.atom(`⌊(${this})/(${other})⌋`)
    // What `by` divides comes out, so that equal floors have equal names.
    const whole = [...this.terms].map(([m, c]) => [m, Math.floor(c / by)] as const)
    const quotient = Size.from(whole, this)
    const rest = this.sub(quotient.mul(other))
    if (rest.value !== undefined) return quotient
    return quotient.add(rest.nestedFloor(by) ?? rest.newFloor(by))
  }

  /** The symbols that are factors of every term of both. */
  private sharedMonomial(other: Size): Size | undefined {
    const [first, ...rest] = [...this.terms.keys(), ...other.terms.keys()]
    if (!first) return undefined
    const shared = first.split(SEPARATOR)
    for (const monomial of rest) {
      const left = monomial.split(SEPARATOR)
      for (const symbol of [...shared]) {
        const found = left.indexOf(symbol)
        if (found >= 0) left.splice(found, 1)
        else shared.splice(shared.indexOf(symbol), 1)
      }
    }
    return shared.length === 0 ? undefined : Size.from([[shared.join(SEPARATOR), 1]], this)
  }

  /** ⌊(⌊x/b⌋ + c)/d⌋ = ⌊(x + c·b)/(b·d)⌋ */
  private nestedFloor(by: number): Size | undefined {
    const symbols = [...this.terms].filter(([monomial]) => monomial !== '')
    const [symbol, factor] = symbols[0] ?? []
    const floor = symbols.length === 1 && factor === 1 ? this.floors.get(symbol ?? '') : undefined
    if (!floor) return undefined
    const constant = this.terms.get('') ?? 0
    return floor.of.add(Size.of(constant * floor.by)).floorDiv(Size.of(floor.by * by))
  }

  private newFloor(by: number): Size {
    const atom = Size.atom(`⌊(${this})/${by}⌋`)
    const [symbol] = [...atom.terms.keys()]
    return new Size(atom.terms, new Map([[symbol as string, { of: this, by }]]))
  }

  /** x − b·⌊x/b⌋ or a multiple of it, which is never negative. */
  private get isRemainder(): boolean {
    return [...this.terms].some(([symbol, factor]) => {
      const { of, by } = this.floors.get(symbol) ?? {}
      if (!of || !by || factor >= 0 || factor % by !== 0) return false
      return this.sub(Size.from([[symbol, factor]], this)).equals(of.mul(Size.of(-factor / by)))
    })
  }

  mod(other: Size): Size {
    const [a, b] = [this.value, other.value]
    if (a !== undefined && b !== undefined && b !== 0) return Size.of(a - b * Math.floor(a / b))
    if (this.divideExact(other)) return Size.of(0)
    // As what is left of a floor, so that padding to a multiple is seen to give one.
    if (b !== undefined && b > 0) return this.sub(this.floorDiv(other).mul(other))
    return Size.atom(`(${this})mod(${other})`)
  }

  static max(a: Size, b: Size): Size {
    return Size.extremum('max', a, b)
  }

  static min(a: Size, b: Size): Size {
    return Size.extremum('min', a, b)
  }

  private static extremum(name: 'max' | 'min', a: Size, b: Size): Size {
    if (a.equals(b)) return a
    const difference = a.sub(b).value
    if (difference !== undefined) return difference > 0 === (name === 'max') ? a : b
    for (const [more, less] of [
      [a, b],
      [b, a],
    ] as const)
      if (more.sub(less).isRemainder) return name === 'max' ? more : less
    const [x, y] = [a.toString(), b.toString()].sort()
    return Size.atom(`${name}(${x},${y})`)
  }

  toString(): string {
    if (this.terms.size === 0) return '0'
    return [...this.terms]
      .sort(([a], [b]) => (a === '' ? 1 : b === '' ? -1 : a < b ? -1 : 1))
      .map(([monomial, factor]) =>
        monomial === ''
          ? `${factor}`
          : factor === 1
            ? monomial
            : `${factor}${SEPARATOR}${monomial}`,
      )
      .join('+')
  }
}
