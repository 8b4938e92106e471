/**
 * Root mean square norms as one operator of ONNX Runtime: w·x/√(mean x² + ε). Where the work around
 * is in half precision, casts stand between its parts and ONNX Runtime does not put them together
 * by itself: each is nine passes over memory.
 */
import type { GraphEdit } from '../graph/edit.js'
import { type Attribute, intsAttribute, type Node, type Value } from '../graph/graph.js'
import { onlyNumber } from '../onnx/numbers.js'
import type { ShapeInfo } from '../shape/infer.js'
import { knownIntegers } from '../shape/known-integers.js'
import { eraseUnread } from './erase-unread.js'

/**
 * How many there were. `isFixed`: nothing that it depends on learns, as the operator computes a
 * backward pass of its own worse.
 */
export function fuseNorms(
  edit: GraphEdit,
  shapes: ShapeInfo,
  isFixed: (value: Value) => boolean = () => true,
): number {
  let count = 0
  for (const node of [...edit.graph.nodes()]) {
    const [output] = node.outputs
    const norm = node.op === 'Mul' && output ? readNorm(node, shapes) : undefined
    if (!output || output.isGraphOutput || !norm || !isFixed(norm.x) || !isFixed(norm.scale))
      continue
    const made = edit.add('SimplifiedLayerNormalization', [norm.x, norm.scale], {
      attributes: {
        axis: { kind: 'int', value: -1n },
        epsilon: { kind: 'float', value: norm.epsilon },
        stash_type: { kind: 'int', value: 1n },
      } satisfies Record<string, Attribute>,
      before: node,
    })
    edit.replaceUses(output, made)
    eraseUnread(edit, node)
    count++
  }
  return count
}

interface Norm {
  /** [..., size] */
  readonly x: Value
  /** [size] */
  readonly scale: Value
  readonly epsilon: number
}

/** w·(x·(1/√…)) or w·(x/√…), either way round. */
function readNorm({ inputs }: Node, shapes: ShapeInfo): Norm | undefined {
  for (const [at, unit] of inputs.entries()) {
    const scale = inputs[1 - at]
    const found = unit && scale && readUnit(unit, shapes)
    const size = found && shapes.dims(found.x)?.at(-1)
    const dims = scale && shapes.dims(scale)
    if (found && size && dims?.length === 1 && dims[0]?.equals(size)) return { ...found, scale }
  }
  return undefined
}

function readUnit(unit: Value, shapes: ShapeInfo): Omit<Norm, 'scale'> | undefined {
  const { producer } = unit
  if (producer?.op === 'Div') {
    const [x, root] = producer.inputs
    return x && root && ofRoot(x, root, shapes)
  }
  if (producer?.op !== 'Mul') return undefined
  for (const [at, x] of producer.inputs.entries()) {
    const quotient = producer.inputs[1 - at]?.producer
    const root = quotient?.inputs.at(-1)
    const isReciprocal =
      quotient?.op === 'Reciprocal' ||
      (quotient?.op === 'Div' && numberOf(quotient.inputs[0]) === 1)
    const found = isReciprocal && x && root ? ofRoot(x, root, shapes) : undefined
    if (found) return found
  }
  return undefined
}

/** Whether `root` is √(mean x² + ε) along the last axis. */
function ofRoot(x: Value, root: Value, shapes: ShapeInfo): Omit<Norm, 'scale'> | undefined {
  const sum = root.producer?.op === 'Sqrt' ? root.producer.inputs[0]?.producer : undefined
  if (sum?.op !== 'Add' || shapes.dataType(x) !== 'float32') return undefined
  const at = sum.inputs.findIndex((input) => numberOf(input) !== undefined)
  const mean = sum.inputs[1 - at]?.producer
  const epsilon = numberOf(sum.inputs[at])
  if (mean?.op !== 'ReduceMean' || epsilon === undefined) return undefined
  const last = (shapes.dims(x)?.length ?? 0) - 1
  const [, stated] = mean.inputs
  const axes = intsAttribute(mean, 'axes') ?? (stated && knownIntegers(stated, shapes))
  const isLast = axes?.length === 1 && (axes[0] === -1 || axes[0] === last)
  return isLast && isSquare(mean.inputs[0], x) ? { x, epsilon } : undefined
}

function isSquare(value: Value | undefined, x: Value): boolean {
  const { op, inputs = [] } = value?.producer ?? {}
  if (op === 'Pow') return inputs[0] === x && numberOf(inputs[1]) === 2
  return op === 'Mul' && inputs[0] === x && inputs[1] === x
}

const numberOf = (value: Value | undefined): number | undefined => onlyNumber(value?.constant)
