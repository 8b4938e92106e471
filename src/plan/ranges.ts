/** Ascending whole numbers in short: `0-255,300,302-305`. */
export function printRanges(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = []
  for (const number of numbers) {
    const run = runs.at(-1)
    if (run && run[1] === number - 1) run[1] = number
    else runs.push([number, number])
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',')
}

/** Undefined where the text is something else, or doesn't ascend. */
export function parseRanges(text: string): number[] | undefined {
  const numbers: number[] = []
  for (const part of text.split(',')) {
    const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? []
    const [first, last] = [Number(from), Number(to)]
    if (from === undefined || first > last || first <= (numbers.at(-1) ?? -1)) return undefined
    if (last - first > LONGEST) return undefined
    for (let number = first; number <= last; number++) numbers.push(number)
  }
  return numbers
}

/** No vocabulary is as large; a typing error is. */
const LONGEST = 1 << 24
