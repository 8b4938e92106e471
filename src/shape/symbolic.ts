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

export class Size {
  private readonly key: string

  private constructor(private readonly terms: Terms) {
    this.key = [...terms]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([monomial, factor]) => `${factor}${SEPARATOR}${monomial}`)
      .join('+')
  }

  private static from(terms: Iterable<readonly [string, number]>): Size {
    const sum = new Map<string, number>()
    for (const [monomial, factor] of terms) sum.set(monomial, (sum.get(monomial) ?? 0) + factor)
    for (const [monomial, factor] of sum) if (factor === 0) sum.delete(monomial)
    return new Size(sum)
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

  equals(other: Size): boolean {
    return this.key === other.key
  }

  add(other: Size): Size {
    return Size.from([...this.terms, ...other.terms])
  }

  sub(other: Size): Size {
    return this.add(other.mul(Size.of(-1)))
  }

  mul(other: Size): Size {
    return Size.from(
      [...this.terms].flatMap(([a, x]) =>
        [...other.terms].map(([b, y]) => [multiplyMonomials(a, b), x * y] as const),
      ),
    )
  }

  /** this/other where that is a polynomial with integer coefficients. */
  divideExact(other: Size): Size | undefined {
    if (this.isZero && !other.isZero) return this
    if (this.equals(other) && !this.isZero) return Size.of(1)
    if (other.terms.size !== 1) return undefined
    const [[monomial, factor]] = [...other.terms] as [[string, number]]
    const quotient: [string, number][] = []
    for (const [each, coefficient] of this.terms) {
      const rest = divideMonomials(each, monomial)
      if (rest === undefined || coefficient % factor !== 0) return undefined
      quotient.push([rest, coefficient / factor])
    }
    return Size.from(quotient)
  }

  /** ⌊this/other⌋, as a symbol where it can't be worked out. */
  floorDiv(other: Size): Size {
    const exact = this.divideExact(other)
    if (exact) return exact
    const [a, b] = [this.value, other.value]
    if (a !== undefined && b !== undefined && b !== 0) return Size.of(Math.floor(a / b))
    return Size.atom(`⌊(${this})/(${other})⌋`)
  }

  mod(other: Size): Size {
    const [a, b] = [this.value, other.value]
    if (a !== undefined && b !== undefined && b !== 0) return Size.of(a - b * Math.floor(a / b))
    if (this.divideExact(other)) return Size.of(0)
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
