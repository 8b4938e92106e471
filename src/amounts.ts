/** Amounts as people read them: three digits and a unit. */

const units = ['', 'k', 'M', 'G', 'T'] as const

/** 1,234 or 12.3 M: three digits where it is large. */
export function describeCount(count: number): string {
  if (Math.abs(count) < 10_000) return Math.round(count).toLocaleString('en')
  const power = Math.min(Math.floor(Math.log10(Math.abs(count)) / 3), units.length - 1)
  return `${(count / 1000 ** power).toPrecision(3)} ${units[power]}`
}

/** 512 B, 1.23 MB (powers of 1,000). */
export function describeBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1)
  return `${(bytes / 1000 ** power).toPrecision(3)} ${units[power]}B`
}

/** −12.3 % and +4 %. */
export function describeChange(before: number, after: number): string {
  const change = (after / before - 1) * 100
  return `${change > 0 ? '+' : change < 0 ? '−' : ''}${Math.abs(change).toFixed(1)} %`
}

/** 0.0123, 12.3, 12.3 k, 1.2e-5: of what has no unit. */
export function describeNumber(value: number): string {
  const size = Math.abs(value)
  if (size >= 10_000) return describeCount(value)
  return size > 0 && size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)))
}

/** 6.654, 0.998: four digits. */
export const describeQuality = (value: number): string =>
  value >= 1000 ? describeCount(value) : value.toPrecision(4)
