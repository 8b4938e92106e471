/**
 * Rows whose columns are moved: halves that change places, as rotary embeddings do it, and pieces that are put back
 * where they were taken from, as its backward pass does it. They are read in place from where they lie.
 */
import { intAttribute, intsAttribute, type Node, type Value } from '../../graph/graph.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { knownIntegers } from '../../shape/known-integers.js'
import { knownSizes } from '../../shape/known-sizes.js'
import type { RowSteps } from './row-steps.js'
import type { Work } from './row-work.js'

/** Columns [start, start + length) of a value, negated or not. */
interface Piece {
  readonly source: Value
  readonly start: number
  readonly length: number
  readonly isNegated: boolean
}

/** `dims`: of the output. */
export function turnedWork(
  node: Node,
  shapes: ShapeInfo,
  dims: readonly number[],
): Work | undefined {
  const columns = dims.at(-1) as number
  if (node.domain !== '') return undefined
  if (node.op === 'Concat') {
    const axis = intAttribute(node, 'axis', 0)
    if (axis !== -1 && axis !== dims.length - 1) return undefined
    const pieces = node.inputs.map((input) => input && pieceOf(input, shapes))
    const [first] = pieces
    let at = 0
    const placed = pieces.map((piece) => {
      const start = at
      at += piece?.length ?? Number.NaN
      return piece && { piece, start }
    })
    const isOne = placed.every((each) => each?.piece.source === first?.source)
    return first && isOne && sizeOf(first.source, shapes) === columns
      ? compose(placed as Placed[], columns)
      : undefined
  }
  if (node.op !== 'Pad') return undefined
  const [input, amounts] = node.inputs
  const piece = input && pieceOf(input, shapes)
  const pads = amounts && knownIntegers(amounts, shapes)
  const mode = node.attributes.get('mode')
  const hasValue = node.inputs[2] !== undefined || node.inputs[3] !== undefined
  if (!piece || !pads || mode || hasValue || sizeOf(piece.source, shapes) !== columns)
    return undefined
  const rank = dims.length
  const isElsewhere = pads.some((pad, at) => pad !== 0 && at % rank !== rank - 1)
  return isElsewhere ? undefined : compose([{ piece, start: pads[rank - 1] as number }], columns)
}

interface Placed {
  readonly piece: Piece
  /** The column that it begins at. */
  readonly start: number
}

/** 0 where no piece lies. */
function compose(placed: readonly Placed[], columns: number): Work {
  const apart = placed.map(({ piece, start }) => ({
    value: piece.source,
    shift: (piece.start - start + columns) % columns,
  }))
  return {
    operands: [],
    apart,
    write: (steps, _, read) =>
      placed.reduceRight((others, { piece, start }, at) => {
        const own = piece.isNegated ? steps.op('negate', read[at] as number) : (read[at] as number)
        return steps.op('choose', within(steps, start, start + piece.length), own, others)
      }, steps.number(0)),
  }
}

/** 1 in columns [start, end), else 0. */
function within(steps: RowSteps, start: number, end: number): number {
  const below = steps.op('less', steps.column(), steps.number(end))
  const above = steps.op('less', steps.column(), steps.number(start))
  return steps.op('subtract', below, above)
}

function pieceOf(value: Value, shapes: ShapeInfo): Piece | undefined {
  const { producer } = value
  const [source] = producer?.inputs ?? []
  if (producer?.domain !== '' || !source) return undefined
  if (producer.op === 'Neg') {
    const inner = pieceOf(source, shapes)
    return inner && { ...inner, isNegated: !inner.isNegated }
  }
  const [rank, length] = [knownSizes(source, shapes)?.length, sizeOf(value, shapes)]
  if (rank === undefined || length === undefined) return undefined
  const isLast = (axis: number | undefined): boolean => axis === -1 || axis === rank - 1
  if (producer.op === 'Split') {
    if (!isLast(intAttribute(producer, 'axis', 0))) return undefined
    const before = producer.outputs.slice(0, producer.outputs.indexOf(value))
    const sizes = before.map((each) => each && sizeOf(each, shapes))
    if (sizes.includes(undefined)) return undefined
    const start = (sizes as number[]).reduce((sum, size) => sum + size, 0)
    return { source, start, length, isNegated: false }
  }
  if (producer.op !== 'Slice') return undefined
  const [starts, , axes, steps] = producer.inputs
    .slice(1)
    .map((each) => each && knownIntegers(each, shapes))
  const own = axes ?? intsAttribute(producer, 'axes')
  const from = starts?.[0]
  const isPlain = starts?.length === 1 && own?.length === 1 && isLast(own[0])
  if (!isPlain || from === undefined || (producer.inputs[4] && steps?.[0] !== 1)) return undefined
  const whole = sizeOf(source, shapes) as number
  return { source, start: from < 0 ? from + whole : from, length, isNegated: false }
}

const sizeOf = (value: Value, shapes: ShapeInfo): number | undefined =>
  knownSizes(value, shapes)?.at(-1)
