/** What an Einsum's equation says: a label for every axis of its operands and of its result. */
import { type Node, stringAttribute } from './graph.js'

export interface EinsumTerms {
  readonly operands: readonly (readonly string[])[]
  readonly result: readonly string[]
}

/** Ranks of the operands, and of the result. */
export function einsumTerms(node: Node, ranks: readonly number[], rank: number): EinsumTerms {
  const equation = stringAttribute(node, 'equation')?.replaceAll(' ', '') ?? ''
  const [left = '', right] = equation.split('->')
  const terms = left.split(',')
  return {
    operands: terms.map((term, index) => expandEllipsis(term, ranks[index] ?? 0)),
    result: expandEllipsis(right === undefined ? implicitResult(terms) : right, rank),
  }
}

/** 'b...h' of rank 4 → ['b', '.1', '.0', 'h']: dots are numbered from the right, as they broadcast. */
function expandEllipsis(term: string, rank: number): string[] {
  const letters = [...term.replace('...', '.')]
  const dots = rank - (letters.length - 1)
  return letters.flatMap((letter) =>
    letter === '.'
      ? Array.from({ length: Math.max(dots, 0) }, (_, i) => `.${dots - 1 - i}`)
      : [letter],
  )
}

function implicitResult(terms: readonly string[]): string {
  const letters = [...terms.join('').replaceAll('.', '')]
  const once = letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter))
  return `${terms.some((term) => term.includes('...')) ? '...' : ''}${once.sort().join('')}`
}
