/**
 * What calibration measures of the values that projections read, reduced inside the session: Σ xᵀx
 * (second moments) and Σ |x| per prompt. Tokens that are padding count nothing: moments gather real
 * tokens only. Of the symmetric moments the blocks on and above the diagonal are computed.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { addReduce, addSplit } from '../graph/versioned-nodes.js'
import type { TokenRows } from '../model/block.js'
import { unfold } from '../model/kernel-matrix.js'
import type { DataType } from '../onnx/data-type.js'
import { type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { float32Tensor, int64Tensor } from '../onnx/tensor.js'
import { type Feedable, TOKEN_MASK, tokenMaskOf } from '../runtime/batches.js'
import { TokenMasks } from './token-masks.js'

/** Rows of [batch · sequence, n] whose moments are taken: every k-th real token. */
const SAMPLED = 'attnc.sampledTokens'

/** A value [..., n] to be watched, once its axes are in the order of `turn`. */
export interface Watch {
  readonly key: string
  readonly value: Value
  readonly size: number
  readonly turn?: readonly number[] | undefined
  /** The convolution that reads the value, n being all that it sees of it at once. */
  readonly unfolded?: Node | undefined
  readonly dataType: DataType
  /** Whose tokens its rows are, where padding may be among them. */
  readonly tokens: TokenRows | undefined
  readonly moments: boolean
  /**
   * The residual stream where the projection's result arrives, [..., D]: moments then count each token
   * by 1/‖stream‖², so that errors are relative to what they disturb and a few huge tokens don't rule.
   * Where its rows are others, by the mean of that over its tokens, which then are the tokens counted: an
   * expert that few tokens go to disturbs little.
   */
  readonly stream:
    | { readonly value: Value; readonly size: number; readonly isOwnRows: boolean }
    | undefined
}

/** A block of the moments: rows `row`…, columns `column`… of [n, n]. */
interface MomentsPart {
  readonly row: number
  readonly column: number
  readonly output: string
}

export interface Instrument {
  readonly watch: Watch
  /** Output with [rows, n] of a value that isn't masked. */
  readonly shape: string | undefined
  /** The input that masks the others. */
  readonly mask: string | undefined
  /** Output with Σ |x| of each prompt: [prompts, n]. */
  readonly absolute: string
  readonly moments: readonly MomentsPart[]
}

/** Adds the reductions to a graph and exposes them. `stride`: moments of every so many tokens. */
export function instrument(
  edit: GraphEdit,
  watches: readonly Watch[],
  stride: number,
): Instrument[] {
  const masks = new TokenMasks(edit)
  const maskings = new Map<Value, Masking>()
  const maskingOf = (tokens: TokenRows | undefined): Masking | undefined => {
    if (!tokens) return undefined
    const mask = masks.of(tokens)
    const known = maskings.get(mask)
    if (known) return known
    const { name } = mask
    // [batch, 1, sequence]: a product with it sums over the real tokens of each prompt.
    const prompts = reshape(edit, mask, [0, 1, -1])
    const sampled = edit.addInput(sampledName(name), 'int64', [`${name}.sampled`])
    const masking = { name, mask, prompts, sampled }
    maskings.set(mask, masking)
    return masking
  }
  /** Every `stride`-th row of [..., size] as float32 [tokens, size]. */
  const sample = (value: Value, size: number, masking: Masking | undefined): Value => {
    const rows = reshape(edit, value, [-1, size])
    if (masking)
      return toFloat(
        edit,
        edit.add('Gather', [rows, masking.sampled], { attributes: { axis: int(0) } }),
      )
    return toFloat(edit, stride > 1 ? everyNth(edit, rows, stride) : rows)
  }
  return watches.map((watch) => {
    const { size, tokens, stream, turn, unfolded } = watch
    const whole = unfolded ? unfold(edit, watch.value, unfolded) : watch.value
    const value = turn ? turned(edit, whole, turn) : whole
    const masking = maskingOf(tokens)
    const sizes = edit.add('Abs', [toFloat(edit, value, unfolded ? 'float32' : watch.dataType)])
    const sums = masking
      ? edit.add('MatMul', [
          masking.prompts,
          tokens?.isFlat ? asTokens(edit, sizes, masking.mask, size) : sizes,
        ])
      : addReduce(edit, 'ReduceSum', reshape(edit, sizes, [-1, size]), [0])
    edit.expose(sums)
    const other = stream?.isOwnRows === false && reshape(edit, stream.value, [-1, stream.size])
    const shape = masking
      ? undefined
      : edit.add('Shape', [other || reshape(edit, value, [-1, size])])
    if (shape) edit.expose(shape)
    const found = { watch, shape: shape?.name, mask: masking?.name, absolute: sums.name }
    if (!watch.moments) return { ...found, moments: [] }
    const rows = sample(value, size, masking)
    const weighted = other
      ? divideByMeanNorm(edit, rows, toFloat(edit, other))
      : stream
        ? divideByNorm(edit, rows, sample(stream.value, stream.size, masking))
        : rows
    return { ...found, moments: addMoments(edit, weighted, size) }
  })
}

/** Inputs that say which rows are real tokens, and which of them are sampled. */
interface Masking {
  readonly name: string
  readonly mask: Value
  readonly prompts: Value
  readonly sampled: Value
}

const sampledName = (mask: string): string => mask.replace(TOKEN_MASK, SAMPLED)

/** Rows [batch · sequence, size] as [batch, sequence, size]. */
function asTokens(edit: GraphEdit, rows: Value, mask: Value, size: number): Value {
  const last = edit.constant(int64Tensor([1], [size]))
  const shape = edit.add('Concat', [edit.add('Shape', [mask]), last], {
    attributes: { axis: int(0) },
  })
  return edit.add('Reshape', [rows, shape])
}

const int = (value: number) => ({ kind: 'int', value: BigInt(value) }) as const

const reshape = (edit: GraphEdit, value: Value, dims: readonly number[]): Value =>
  edit.add('Reshape', [value, edit.constant(int64Tensor([dims.length], dims))])

const turned = (edit: GraphEdit, value: Value, perm: readonly number[]): Value =>
  edit.add('Transpose', [value], {
    attributes: { perm: { kind: 'ints', value: perm.map(BigInt) } },
  })

const toFloat = (edit: GraphEdit, value: Value, dataType?: DataType): Value =>
  dataType === 'float32' ? value : edit.add('Cast', [value], { attributes: { to: int(1) } })

/** x/‖stream‖ along the last axis. */
const divideByNorm = (edit: GraphEdit, value: Value, stream: Value): Value =>
  edit.add('Div', [value, edit.add('Sqrt', [squaredNorms(edit, stream)])])

/** x·√(mean of 1/‖stream‖²): all rows alike. */
function divideByMeanNorm(edit: GraphEdit, value: Value, stream: Value): Value {
  const inverse = edit.add('Reciprocal', [squaredNorms(edit, stream)])
  const count = toFloat(edit, edit.add('Size', [inverse]))
  const mean = edit.add('Div', [addReduce(edit, 'ReduceSum', inverse, [0, 1]), count])
  return edit.add('Mul', [value, edit.add('Sqrt', [mean])])
}

/** ‖x‖² of each row, [..., 1]. */
function squaredNorms(edit: GraphEdit, rows: Value): Value {
  const squares = addReduce(edit, 'ReduceSum', edit.add('Mul', [rows, rows]), [-1])
  return edit.add('Max', [squares, edit.constant(float32Tensor([], [1e-12]))])
}

function everyNth(edit: GraphEdit, rows: Value, stride: number): Value {
  const one = (value: number): Value => edit.constant(int64Tensor([1], [value]))
  return edit.add('Slice', [rows, one(0), one(Number.MAX_SAFE_INTEGER), one(0), one(stride)])
}

/** Columns of a part. Smaller parts save more of the half that symmetry makes needless, up to a point. */
const PART = 256

/** xᵀx of [tokens, n], the blocks on and above the diagonal. */
function addMoments(edit: GraphEdit, rows: Value, size: number): MomentsPart[] {
  const count = Math.max(1, Math.round(size / PART))
  const starts = Array.from({ length: count }, (_, i) => Math.round((i * size) / count))
  const widths = starts.map((start, i) => (starts[i + 1] ?? size) - start)
  const parts = addSplit(edit, rows, 1, widths)
  const across = parts.map((part) =>
    edit.add('Transpose', [part], { attributes: { perm: { kind: 'ints', value: [1n, 0n] } } }),
  )
  return across.flatMap((left, i) =>
    parts.slice(i).map((right, j) => {
      const product = edit.add('MatMul', [left, right])
      edit.expose(product)
      return { row: starts[i] as number, column: starts[i + j] as number, output: product.name }
    }),
  )
}

/** What graphs with instruments are fed besides the batch. */
export function instrumentFeeds(
  instruments: readonly Instrument[],
  batch: Feedable,
  stride: number,
): Record<string, RuntimeTensor> {
  const names = new Set(instruments.flatMap(({ mask }) => mask ?? []))
  return Object.fromEntries(
    [...names].flatMap((name) => {
      const mask = tokenMaskOf(batch, name)
      if (!mask) return []
      const real: number[] = []
      for (const [at, kept] of (mask.data as Float32Array).entries()) if (kept) real.push(at)
      const sampled = real.filter((_, index) => index % stride === 0)
      return [
        [name, mask],
        [sampledName(name), tensorOf('int64', [sampled.length], sampled)],
      ]
    }),
  )
}
