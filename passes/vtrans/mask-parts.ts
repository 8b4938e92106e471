/**
 * The vector that is learned, cut at the masks: for each what its gates are in the mean, how they
 * vary, and which are kept.
 */
import type { Value } from '../../src/graph/graph.js'
import type { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { EPSILON } from './bottleneck.js'
import type { MaskSet } from './masks.js'

/** Of one mask. */
export interface MaskPart {
  /** What a gate is in the mean, and by how much it varies. */
  readonly gate: Value
  readonly deviation?: Value
  readonly logVariance?: Value
  /** Zeros and ones. */
  readonly kept: Value
}

/** A vector cut at the masks. */
function split(b: NodeBuilder, whole: Value, { masks }: MaskSet, what: string): readonly Value[] {
  const names = masks.map((_, index) => `attnc.${what}${index}`)
  return b.outputs('Split', [whole, b.ints(...masks.map(({ size }) => size))], names, { axis: 0 })
}

/** The vector is [2 · units]: μ of all units, then their log σ². */
export function cutNoisy(b: NodeBuilder, vector: Value, set: MaskSet): MaskPart[] {
  const sizes = b.ints(set.size, set.size)
  const halves = b.outputs('Split', [vector, sizes], ['mean', 'variance'], { axis: 0 })
  const [mean, logVariance] = halves as [Value, Value]
  const deviation = b.op('Exp', [b.op('Mul', [logVariance, b.number(0.5, 'float32')])])
  const isSure = b.op('Less', [logAlphaOf(b, mean, logVariance), b.number(0, 'float32')])
  const gates = split(b, mean, set, 'gate')
  const deviations = split(b, deviation, set, 'deviation')
  const logVariances = split(b, logVariance, set, 'variance')
  const kept = split(b, b.cast(isSure, 'float32'), set, 'kept')
  return set.masks.map((_, index) => ({
    gate: gates[index] as Value,
    deviation: deviations[index] as Value,
    logVariance: logVariances[index] as Value,
    kept: kept[index] as Value,
  }))
}

/** The vector is [units], and `settled` says which stay: see StepInput. */
export function cutSettled(
  b: NodeBuilder,
  vector: Value,
  set: MaskSet,
  settled: Float32Array,
): MaskPart[] {
  const isChannel = set.masks.flatMap(({ size, dimension }) =>
    Array<number>(size).fill(Number(dimension.role === 'hidden')),
  )
  const channels = vectorOf(b, isChannel)
  const own = b.op('Mul', [
    vector,
    vectorOf(
      b,
      isChannel.map((each) => 1 - each),
    ),
  ])
  const keep = b.edit.constant(float32Tensor([set.size], settled))
  const gates = split(b, b.op('Mul', [b.op('Add', [own, channels]), keep]), set, 'gate')
  return set.masks.map(({ offset, size }, index) => ({
    gate: gates[index] as Value,
    kept: b.edit.constant(float32Tensor([size], settled.slice(offset, offset + size))),
  }))
}

/** log σ² − log μ². */
export function logAlphaOf(b: NodeBuilder, mean: Value, logVariance: Value | undefined): Value {
  const squares = b.op('Add', [b.op('Mul', [mean, mean]), b.number(EPSILON, 'float32')])
  return b.op('Sub', [logVariance, b.op('Log', [squares])])
}

export const vectorOf = (b: NodeBuilder, numbers: readonly number[]): Value =>
  b.edit.constant(float32Tensor([numbers.length], numbers))
