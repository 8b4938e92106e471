/**
 * What every head writes, as published (Mugnaini et al. 2025): I = mean over prompts of the mean over tokens of
 * ‖x·W‖₁, where x is what the head says and W its rows of the output projection. A unit of several query
 * heads has their mean. Costs a pass of its own, since no sum of inputs tells a norm of their product.
 */
import { TokenMasks } from '../../src/calibrate/token-masks.js'
import type { Batch } from '../../src/data/batch.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { addReduce, addUnsqueeze } from '../../src/graph/versioned-nodes.js'
import { unfold } from '../../src/model/kernel-matrix.js'
import type { TransformerModel } from '../../src/model/model.js'
import { float32Tensor, int64Tensor } from '../../src/onnx/tensor.js'
import type { PrunableBlock, Unit } from '../../src/repair/prunable.js'
import { type RunOptions, runBatches, tokenMaskOf } from '../../src/runtime/batches.js'

interface Tap {
  readonly key: string
  readonly units: number
  /** Query heads of a unit. */
  readonly heads: number
  /** Output with Σ over tokens of ‖x·W‖₁: [prompts, units·heads], or [1, …] where rows are no tokens. */
  readonly output: string
  /** The input that tells its real tokens. */
  readonly mask: string | undefined
}

/** Scores by block key and unit; blocks without a plain projection are left out. */
export async function measureHeadWrites(
  model: Model,
  view: TransformerModel,
  blocks: readonly PrunableBlock[],
  batches: readonly Batch[],
  options: RunOptions,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const tapped = blocks.filter(({ kind, projection }) => kind === 'attention' && projection)
  const scores = new Map<string, number[]>()
  if (tapped.length === 0) return scores
  const copy = extractSubgraph(model.graph, new Map(), [
    ...new Set(tapped.map(({ input }) => input)),
  ])
  const taps = edit(copy.graph, 'attnc.headWrites', (change) => addTaps(change, view, tapped))
  let prompts = 0
  for (const { key, units } of taps) scores.set(key, Array<number>(units).fill(0))
  await runBatches(copy, batches, options, 'scoring heads', (results, batch) => {
    prompts += tokensOf(batch).length
    for (const tap of taps) {
      const tokens = tokensOf(batch, tap.mask)
      const data = results[tap.output]?.data as Float32Array
      const own = scores.get(tap.key) as number[]
      const width = tap.units * tap.heads
      const total = tokens.reduce((sum, count) => sum + count, 0)
      for (const [prompt, count] of tokens.entries())
        for (let unit = 0; unit < tap.units; unit++) {
          let sum = 0
          const at = (tap.mask ? prompt * width : 0) + unit * tap.heads
          for (let head = 0; head < tap.heads; head++) sum += data[at + head] as number
          own[unit] = (own[unit] as number) + sum / tap.heads / (tap.mask ? count : total)
        }
    }
  })
  for (const own of scores.values())
    for (const i of own.keys()) own[i] = (own[i] as number) / prompts
  return scores
}

/** Real tokens of each prompt; samples of other data count as one token each. */
function tokensOf(batch: Batch, name?: string): number[] {
  const tokenMask = name ? tokenMaskOf(batch, name) : batch.tokenMask
  const { feeds } = batch
  const [rows = 0, length = 0] = tokenMask?.dims ?? []
  if (!tokenMask) return Array<number>(Object.values(feeds)[0]?.dims[0] ?? 1).fill(1)
  return Array.from({ length: rows }, (_, row) => {
    let count = 0
    for (let i = row * length; i < (row + 1) * length; i++) count += Number(tokenMask.data[i])
    return Math.max(count, 1)
  })
}

function addTaps(
  change: GraphEdit,
  view: TransformerModel,
  blocks: readonly PrunableBlock[],
): Tap[] {
  for (const output of [...change.graph.outputs]) change.hide(output)
  const masks = new TokenMasks(change)
  return blocks.flatMap((block) => {
    const units = block.choices.find(({ frame }) => !frame)?.units ?? []
    const size = view.attention.find(
      ({ outputProjection }) => outputProjection === block.contraction,
    )?.valueHeadSize
    const rows = units[0]?.rows.length ?? 0
    if (!size || rows % size !== 0 || units.some((unit) => unit.rows.length !== rows)) return []
    const heads = rows / size
    const norms = addNorms(change, block, units, heads, size)
    const { key, tokens } = block
    const mask = tokens && masks.of(tokens)
    const sums = addSums(change, norms, mask, units.length * heads)
    change.expose(sums)
    return [{ key, mask: mask?.name, units: units.length, heads, output: sums.name }]
  })
}

/** ‖x·W‖₁ of every head and token: [tokens, heads]. */
function addNorms(
  change: GraphEdit,
  block: PrunableBlock,
  units: readonly Unit[],
  heads: number,
  size: number,
): Value {
  const shaped = (value: Value, ...dims: number[]): Value =>
    change.add('Reshape', [value, change.constant(int64Tensor([dims.length], dims))])
  const turned = (value: Value, ...perm: number[]): Value =>
    change.add('Transpose', [value], {
      attributes: { perm: { kind: 'ints', value: perm.map(BigInt) } },
    })
  const order = units.flatMap(({ rows }) => rows)
  const count = units.length * heads
  const input = change.graph.values.get(block.input.name) as Value
  const whole = block.unfolded ? unfold(change, input, block.unfolded) : input
  const last = block.turn ? turned(whole, ...block.turn) : whole
  const single = change.add('Cast', [last], { attributes: { to: { kind: 'int', value: 1n } } })
  const rows = shaped(single, -1, block.width)
  const chosen = change.add('Gather', [rows, change.constant(int64Tensor([order.length], order))], {
    attributes: { axis: { kind: 'int', value: 1n } },
  })
  const weight = block.projection?.read() ?? new Float64Array()
  const columns = block.projection?.columns ?? 0
  const own = new Float32Array(order.length * columns)
  for (const [to, from] of order.entries())
    own.set(weight.subarray(from * columns, (from + 1) * columns), to * columns)
  const matrices = change.constant(float32Tensor([count, size, columns], own))
  const written = change.add('MatMul', [turned(shaped(chosen, -1, count, size), 1, 0, 2), matrices])
  const norms = addReduce(change, 'ReduceSum', change.add('Abs', [written]), [2], {
    keepDims: false,
  })
  return turned(norms, 1, 0)
}

/** Sums over the real tokens of each prompt, or over all rows. */
function addSums(change: GraphEdit, norms: Value, mask: Value | undefined, width: number): Value {
  if (!mask) return addReduce(change, 'ReduceSum', norms, [0])
  const shape = change.add(
    'Concat',
    [change.add('Shape', [mask]), change.constant(int64Tensor([1], [width]))],
    { attributes: { axis: { kind: 'int', value: 0n } } },
  )
  const perPrompt = change.add('Reshape', [norms, shape])
  const counted = change.add('Mul', [perPrompt, addUnsqueeze(change, mask, [2])])
  return addReduce(change, 'ReduceSum', counted, [1], { keepDims: false })
}
