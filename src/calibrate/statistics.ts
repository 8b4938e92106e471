/**
 * What calibration measures of the values that projections read, reduced inside the session:
 * Σ xᵀx (second moments), Σ |x| per prompt, and per-head sizes of what is written to the stream.
 * Tokens that are padding count nothing. Sums are carried in double precision outside.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Value } from '../graph/graph.js'
import type { DataType } from '../onnx/data-type.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { float32Tensor, int64Tensor } from '../onnx/tensor.js'
import { TOKEN_MASK } from '../runtime/batches.js'

/** A value [..., n] to be watched. */
export interface Watch {
  readonly key: string
  readonly value: Value
  readonly size: number
  readonly dataType: DataType
  /** Whether its leading axes are the batch and sequence of the token mask. */
  readonly isMasked: boolean
  readonly moments: boolean
  /**
   * The residual stream where the projection's result arrives, [..., D]: moments then count each token
   * by 1/‖stream‖², so that errors are relative to what they disturb and a few huge tokens don't rule.
   */
  readonly stream: Value | undefined
}

export interface Statistics {
  readonly size: number
  tokens: number
  prompts: number
  /** Row-major [n, n]; undefined where moments were not asked for. */
  readonly moments: Float64Array | undefined
  /** Σ over prompts of the mean |x| over a prompt's tokens (amp.md §2.4). */
  readonly absolute: Float64Array
}

export interface Instrument {
  readonly watch: Watch
  readonly outputs: { readonly moments: Value | undefined; readonly absolute: Value }
}

/** Adds the reductions to a graph and exposes them. `stride`: moments of every so many tokens. */
export function instrument(
  edit: GraphEdit,
  watches: readonly Watch[],
  stride: number,
): Instrument[] {
  const mask = watches.some((watch) => watch.isMasked)
    ? edit.addInput(TOKEN_MASK, 'float32', ['batch', 'sequence'])
    : undefined
  const column = mask && edit.add('Unsqueeze', [mask, edit.constant(int64Tensor([1], [-1]))])
  return watches.map((watch) => {
    const { value, size } = watch
    const single = watch.dataType === 'float32' ? value : edit.add('Cast', [value], castToFloat)
    const masked = watch.isMasked && column ? edit.add('Mul', [single, column]) : single
    const rows = edit.add('Reshape', [masked, edit.constant(int64Tensor([2], [-1, size]))])
    // Σ|x| per prompt: tokens are the middle axis.
    const prompts = edit.add('Reshape', [
      edit.add('Abs', [masked]),
      edit.constant(int64Tensor([3], watch.isMasked ? [0, -1, size] : [1, -1, size])),
    ])
    const axis = edit.constant(int64Tensor([1], [1]))
    const opset = edit.graph.model.opsets.get('') ?? 13
    const sums =
      opset >= 13
        ? edit.add('ReduceSum', [prompts, axis], {
            attributes: { keepdims: { kind: 'int', value: 0n } },
          })
        : edit.add('ReduceSum', [prompts], {
            attributes: {
              keepdims: { kind: 'int', value: 0n },
              axes: { kind: 'ints', value: [1n] },
            },
          })
    edit.expose(sums)
    if (!watch.moments) return { watch, outputs: { moments: undefined, absolute: sums } }
    const weighted = watch.stream ? divideByNorm(edit, masked, watch.stream) : masked
    const weightedRows = watch.stream
      ? edit.add('Reshape', [weighted, edit.constant(int64Tensor([2], [-1, size]))])
      : rows
    const sampled = stride > 1 ? everyNth(edit, weightedRows, stride) : weightedRows
    const across = edit.add('Transpose', [sampled], {
      attributes: { perm: { kind: 'ints', value: [1n, 0n] } },
    })
    const moments = edit.add('MatMul', [across, sampled])
    edit.expose(moments)
    return { watch, outputs: { moments, absolute: sums } }
  })
}

const castToFloat = { attributes: { to: { kind: 'int', value: 1n } } } as const

/** x/√mean(stream²) along the last axis. */
function divideByNorm(edit: GraphEdit, value: Value, stream: Value): Value {
  const single = edit.add('Cast', [stream], castToFloat)
  const last = edit.constant(int64Tensor([1], [-1]))
  const squares = edit.add('ReduceSum', [edit.add('Mul', [single, single]), last])
  const floor = edit.constant(float32Tensor([], [1e-12]))
  return edit.add('Div', [value, edit.add('Sqrt', [edit.add('Max', [squares, floor])])])
}

function everyNth(edit: GraphEdit, rows: Value, stride: number): Value {
  const one = (value: number): Value => edit.constant(int64Tensor([1], [value]))
  return edit.add('Slice', [rows, one(0), one(Number.MAX_SAFE_INTEGER), one(0), one(stride)])
}

export const emptyStatistics = (watch: Watch): Statistics => ({
  size: watch.size,
  tokens: 0,
  prompts: 0,
  moments: watch.moments ? new Float64Array(watch.size * watch.size) : undefined,
  absolute: new Float64Array(watch.size),
})

/** Adds one batch. `lengths`: real tokens of each prompt. */
export function accumulate(
  statistics: Statistics,
  results: Readonly<Record<string, RuntimeTensor>>,
  outputs: Instrument['outputs'],
  lengths: readonly number[],
): void {
  const absolute = results[outputs.absolute.name]?.data as Float32Array
  const { size } = statistics
  const prompts = absolute.length / size
  for (let prompt = 0; prompt < prompts; prompt++) {
    const tokens = lengths[prompt] ?? lengths.reduce((sum, each) => sum + each, 0)
    for (let i = 0; i < size; i++)
      statistics.absolute[i] =
        (statistics.absolute[i] ?? 0) + (absolute[prompt * size + i] ?? 0) / tokens
  }
  statistics.prompts += prompts
  statistics.tokens += lengths.reduce((sum, each) => sum + each, 0)
  const moments = outputs.moments && (results[outputs.moments.name]?.data as Float32Array)
  const total = statistics.moments
  if (moments && total)
    for (let i = 0; i < moments.length; i++)
      total[i] = (total[i] as number) + (moments[i] as number)
}
