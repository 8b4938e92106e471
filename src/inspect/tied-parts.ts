/**
 * Weights that were laid into larger ones beforehand: queries, keys and values that an optimiser packed
 * for one layer and not for another that shares them, a table that is a part of the output head. Such
 * numbers are learned once. Some lines tell, equal number by number: chance would have made them differ.
 */
import type { Value } from '../graph/graph.js'
import { MatrixLines } from './matrix-lines.js'

interface Candidate {
  readonly value: Value
  readonly lines: MatrixLines
  /** Of a vector the second is 1. */
  readonly dims: readonly [number, number]
}

/** A candidate as a number of lines of one length: its rows, or its columns. */
interface Run {
  readonly candidate: Candidate
  readonly isColumns: boolean
  readonly count: number
  readonly length: number
}

/** Shorter lines and fewer of them could be equal by chance. */
const MIN_NUMBERS = 4

/** So many places for one part are looked at, beside the last. */
const MAX_PLACES = 16

/** The sizes, each without the parts that are constants of their own and counted there. */
export function withoutParts(sizes: ReadonlyMap<Value, number>): Map<Value, number> {
  const left = new Map(sizes)
  const runs = [...sizes.keys()].flatMap(candidateOf).flatMap(runsOf)
  const byStart = new Map<string, Run[]>()
  const counts = new Map<number, Set<number>>()
  for (const run of runs) {
    const key = startOf(run, 0, run.count)
    byStart.set(key, [...(byStart.get(key) ?? []), run])
    counts.set(run.length, (counts.get(run.length) ?? new Set()).add(run.count))
  }
  for (const whole of runs) {
    const parts = new Set<Value>()
    for (const count of counts.get(whole.length) ?? [])
      for (const place of count < whole.count ? placesOf(count, whole.count) : [])
        for (const part of byStart.get(startOf(whole, place, count)) ?? [])
          if (isAt(whole, place, part)) parts.add(part.candidate.value)
    const { value } = whole.candidate
    for (const part of parts) left.set(value, (left.get(value) ?? 0) - (sizes.get(part) ?? 0))
  }
  return left
}

function candidateOf(value: Value): Candidate[] {
  const { constant } = value
  if (!constant || !['float32', 'float16', 'float64'].includes(constant.dataType)) return []
  const { dims } = constant
  if (dims.length < 1 || dims.length > 2 || dims.some((size) => size < MIN_NUMBERS)) return []
  const [rows = 1, columns = 1] = dims
  return [{ value, lines: new MatrixLines(constant), dims: [rows, columns] }]
}

function runsOf(candidate: Candidate): Run[] {
  const [rows, columns] = candidate.dims
  const ofRows: Run = { candidate, isColumns: false, count: rows, length: columns }
  const ofColumns: Run = { candidate, isColumns: true, count: columns, length: rows }
  return columns === 1 ? [ofRows] : [ofRows, ofColumns]
}

/** A whole number of parts from the beginning, or at the end. */
function placesOf(count: number, total: number): number[] {
  const places = Array.from(
    { length: Math.min(MAX_PLACES, Math.floor(total / count)) },
    (_, i) => i,
  )
  return [...new Set([...places.map((i) => i * count), total - count])]
}

/** What runs of `count` lines that begin alike have in common. */
const startOf = (run: Run, place: number, count: number): string =>
  `${run.length} ${count} ${numbersAt(run, place, MIN_NUMBERS)}`

function isAt(whole: Run, place: number, part: Run): boolean {
  const { count, length } = part
  const [lines, taken] = length === 1 ? [[0], count] : [[0, count >> 1, count - 1], 48]
  return lines.every((index) => {
    const own = numbersAt(part, index, taken)
    return numbersAt(whole, place + index, taken).every((each, at) => each === own[at])
  })
}

/** The first numbers of a line; of a vector, whose lines are single numbers, those from there on. */
const numbersAt = ({ candidate, isColumns, length }: Run, index: number, count: number): number[] =>
  candidate.lines.line(index, isColumns, length === 1 ? count : Math.min(count, length))
