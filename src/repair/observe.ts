/**
 * What is summed at one place of the pruned model while it runs beside the dense one: moments of a value
 * and its products with what the dense model has and the pruned one lacks, reduced inside the session.
 */
import { TokenMasks } from '../calibrate/token-masks.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { addReduce } from '../graph/versioned-nodes.js'
import type { TokenRows } from '../model/block.js'
import { unfold } from '../model/kernel-matrix.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { float32Tensor, int64Tensor } from '../onnx/tensor.js'
import { letGoOf } from '../runtime/let-go.js'

/** Input that carries the dense model's value of each batch. */
export const DENSE = 'attnc.dense'

/** What a product reads after everything before it was pruned. */
export interface Observation {
  /** Σ wxᵀx, [n, n]. */
  readonly moments: Float64Array
  /** Σ wxᵀδ, [n, D]: δ is what the dense model has and the pruned one lacks. */
  readonly missing: Float64Array | undefined
  readonly tokens: number
  /** Where the projection has a bias to carry them: Σw, Σwx and Σwδ, with w squared as in the moments. */
  readonly means: Means | undefined
}

export interface Means {
  readonly weights: number
  readonly inputs: Float64Array
  readonly gaps: Float64Array
}

export interface Place {
  /** x, [..., width] once its axes are in the order of `turn`. */
  readonly input: Value
  readonly width: number
  readonly turn?: readonly number[] | undefined
  /** The convolution of which `input` is what it reads. */
  readonly unfolded?: Node | undefined
  /** What is compared with the dense model, [..., columns]. */
  readonly target: { readonly value: Value; readonly columns: number } | undefined
  readonly tokens: TokenRows | undefined
  readonly hasMeans: boolean
}

/** Names of the outputs that are summed. */
interface Outputs {
  readonly moments: string
  readonly missing: string | undefined
  readonly tokens: string
}

/** Sums the outputs of batch after batch. */
export class ObservationSums {
  private readonly n: number
  private readonly moments: Float64Array
  private missing: Float64Array | undefined
  private tokens = 0

  constructor(
    private readonly place: Place,
    private readonly outputs: Outputs,
  ) {
    // A column of ones stands behind the inputs: its moments are the sums.
    this.n = place.width + (place.hasMeans ? 1 : 0)
    this.moments = new Float64Array(this.n * this.n)
  }

  take(results: Readonly<Record<string, RuntimeTensor>>): void {
    const { moments, missing, tokens } = this.outputs
    addTo(this.moments, results[moments]?.data as Float32Array)
    const found = missing && (results[missing]?.data as Float32Array)
    if (found) {
      this.missing ??= new Float64Array(found.length)
      addTo(this.missing, found)
    }
    this.tokens += Number(results[tokens]?.data[0])
  }

  finish(): Observation {
    const { tokens, moments, missing, place } = this
    const parts = place.hasMeans
      ? split(moments, missing, place.width)
      : { moments, missing, means: undefined }
    if (place.hasMeans) letGoOf(moments, missing)
    return { tokens, ...parts }
  }
}

function addTo(sum: Float64Array, part: Float32Array): void {
  for (let i = 0; i < part.length; i++) sum[i] = (sum[i] as number) + (part[i] as number)
}

/** Moments of [x, 1] as those of x, and the sums. */
function split(moments: Float64Array, missing: Float64Array | undefined, n: number) {
  const own = new Float64Array(n * n)
  const inputs = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    own.set(moments.subarray(i * (n + 1), i * (n + 1) + n), i * n)
    inputs[i] = moments[i * (n + 1) + n] as number
  }
  const columns = (missing?.length ?? 0) / (n + 1)
  return {
    moments: own,
    missing: missing?.slice(0, n * columns),
    means: {
      weights: moments[(n + 1) * (n + 1) - 1] as number,
      inputs,
      gaps: missing?.slice(n * columns) ?? new Float64Array(columns),
    },
  }
}

/** Dimensions that may differ from batch to batch, and from those of any other value. */
export const openDims = (name: string, { dims }: RuntimeTensor): string[] =>
  dims.map((_, axis) => `${name}.${axis}`)

const asFloat = { attributes: { to: { kind: 'int', value: 1n } } } as const
const swapped = { attributes: { perm: { kind: 'ints', value: [1n, 0n] } } } as const

/** Σ wxᵀx and Σ wxᵀδ, w = mask / ‖dense‖². `sample` is one batch's dense value. */
export function addObservation(
  change: GraphEdit,
  { input, width, turn, unfolded, target, tokens: owner, hasMeans }: Place,
  sample: RuntimeTensor | undefined,
): Outputs {
  const float = (value: Value): Value => change.add('Cast', [value], asFloat)
  const rowsOf = (value: Value, size: number): Value =>
    change.add('Reshape', [float(value), change.constant(int64Tensor([2], [-1, size]))])
  const dense = target && sample && change.addInput(DENSE, sample.dataType, openDims(DENSE, sample))
  const gap = dense && rowsOf(dense, target.columns)
  const norm = gap && addNorm(change, gap)
  const mask = owner ? rowsOf(new TokenMasks(change).of(owner), 1) : undefined
  const scale =
    mask && norm
      ? change.add('Div', [mask, norm])
      : (mask ?? (norm && change.add('Reciprocal', [norm])))
  const scaled = (rows: Value): Value => (scale ? change.add('Mul', [rows, scale]) : rows)
  const whole = unfolded ? unfold(change, input, unfolded) : input
  const last = turn
    ? change.add('Transpose', [whole], {
        attributes: { perm: { kind: 'ints', value: turn.map(BigInt) } },
      })
    : whole
  const plain = rowsOf(last, width)
  const rows = scaled(hasMeans ? withOnes(change, plain) : plain)
  const across = change.add('Transpose', [rows], swapped)
  const moments = change.add('MatMul', [across, rows])
  const missing =
    gap &&
    change.add('MatMul', [
      across,
      scaled(change.add('Sub', [gap, rowsOf(target.value, target.columns)])),
    ])
  const tokens = change.add('Cast', [change.add('Shape', [rows])], asFloat)
  for (const each of [moments, missing, tokens]) if (each) change.expose(each)
  return { moments: moments.name, missing: missing?.name, tokens: tokens.name }
}

/** ‖x‖ of each row, [rows, 1]. */
function addNorm(change: GraphEdit, rows: Value): Value {
  const squares = addReduce(change, 'ReduceSum', change.add('Mul', [rows, rows]), [-1])
  const floor = change.constant(float32Tensor([], [1e-12]))
  return change.add('Sqrt', [change.add('Max', [squares, floor])])
}

/** x with a column of ones behind it. */
function withOnes(change: GraphEdit, x: Value): Value {
  const sum = addReduce(change, 'ReduceSum', x, [-1])
  const none = change.add('Mul', [sum, change.constant(float32Tensor([], [0]))])
  const ones = change.add('Add', [none, change.constant(float32Tensor([], [1]))])
  return change.add('Concat', [x, ones], { attributes: { axis: { kind: 'int', value: -1n } } })
}
