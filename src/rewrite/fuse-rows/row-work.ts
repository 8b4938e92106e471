/** Which nodes are work along rows, and the steps of a row program that they come to. */
import type { Node, Value } from '../../graph/graph.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { knownSizes } from '../../shape/known-sizes.js'
import { elementwiseWork } from './elementwise-work.js'
import { alongRows } from './reduction-work.js'
import type { RowSteps } from './row-steps.js'
import { selectionWork } from './selection-work.js'
import { turnedWork } from './turned-work.js'

/** What is read from memory, whoever made it: whole numbers, truths, or rows that are turned by some columns. */
export interface Apart {
  readonly value: Value
  readonly kind?: 'index' | 'truth'
  readonly shift?: number
}

export type Write = (steps: RowSteps, of: readonly number[], apart: readonly number[]) => number

/** A node's work, before its operands are looked at. */
export interface Work {
  readonly write: Write
  /** Where they are not those of the output. */
  readonly dims?: readonly number[] | undefined
  /** All inputs without it. */
  readonly operands?: readonly (Value | undefined)[]
  readonly apart?: readonly Apart[]
}

export interface RowWork {
  /** [..., columns] of the rows; columns are 1 where it is a number for each row. */
  readonly dims: readonly number[]
  /** Values that are read as numbers of a floating type. */
  readonly operands: readonly Value[]
  readonly apart: readonly Apart[]
  /** Writes its steps; operands and what is apart are steps. Returns that of the output. */
  readonly write: Write
}

/** The work of a node all of whose sizes are known; undefined for any other. */
export function rowWork(node: Node, shapes: ShapeInfo): RowWork | undefined {
  const [output] = node.outputs
  const dims = output && knownSizes(output, shapes)
  if (!dims || dims.length === 0 || node.outputs.slice(1).some(Boolean)) return undefined
  if (!isFloating(output, shapes)) return undefined
  const found =
    elementwiseWork(node) ??
    alongRows(node, shapes, dims) ??
    selectionWork(node, shapes) ??
    turnedWork(node, shapes, dims)
  const operands = (found?.operands ?? node.inputs).flatMap((operand) =>
    operand ? unwidened(operand, shapes) : [],
  )
  if (!operands.every((operand) => isFloating(operand, shapes) && knownSizes(operand, shapes)))
    return undefined
  return found && { apart: [], ...found, dims: found.dims ?? dims, operands }
}

const isFloating = (value: Value, shapes: ShapeInfo): boolean =>
  ['float32', 'float16'].includes(shapes.dataType(value) ?? '')

/** What is stored in half precision is read as it is stored: steps are float32 all the same. */
function unwidened(value: Value, shapes: ShapeInfo): Value {
  const [source] = value.producer?.op === 'Cast' ? value.producer.inputs : []
  return source && shapes.dataType(source) === 'float16' && isFloating(value, shapes)
    ? source
    : value
}
