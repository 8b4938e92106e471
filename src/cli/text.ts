/** Numbers and tables for people. */
export { describeBytes, describeChange, describeCount } from '../amounts.js'

/** Columns aligned: numbers right, words left. */
export function table(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string[] {
  const all = [head, ...rows.map((row) => row.map(String))]
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  const isNumeric = head.map((_, column) =>
    rows.every((row) => typeof row[column] === 'number' || row[column] === ''),
  )
  return all.map((row) =>
    widths
      .map((width, column) =>
        isNumeric[column] ? (row[column] ?? '').padStart(width) : (row[column] ?? '').padEnd(width),
      )
      .join('  ')
      .trimEnd(),
  )
}

/** `1 layer`, `12 layers`. */
export const counted = (count: number, what: string): string =>
  `${count} ${what}${count === 1 ? '' : 's'}`

/** A word of a command as shells take it: quoted where it has to be. */
export const shellWord = (word: string): string =>
  /[^\w./=%:@,+-]/.test(word) || word === '' ? `'${word.replaceAll("'", "'\\''")}'` : word
