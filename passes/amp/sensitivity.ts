/**
 * How much the model's answer suffers from an error in the stream after each block, by one backward
 * pass: G = E‖s‖²ggᵀ over tokens, with g the gradient of the loss at stream s. An error δ costs δᵀggᵀδ/2
 * in the second order (Fisher information); averaged apart from the inputs of the projection as in
 * K-FAC (Martens & Grosse 2015; for pruning, LLM Surgeon 2024).
 */
import { TokenMasks } from '../../src/calibrate/token-masks.js'
import type { Batch } from '../../src/data/batch.js'
import { AttncError } from '../../src/errors.js'
import { addLikelihood, feedTargets } from '../../src/evaluate/perplexity.js'
import { addGradients } from '../../src/gradients/gradients.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { type Block, type TokenRows, tokensOf } from '../../src/model/block.js'
import type { TransformerModel } from '../../src/model/model.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { float32Tensor, int64Tensor } from '../../src/onnx/tensor.js'
import { type RunOptions, runBatches } from '../../src/runtime/batches.js'

/** Tokens that are looked at, at most: the ratios between blocks settle early. */
const tokenLimit = 4096

/** G by block key, [D, D], trace D in the mean over blocks. */
export type Sensitivity = ReadonlyMap<string, Float64Array>

/** Undefined where no gradient can be had; the log says why. */
export async function measureSensitivity(
  model: Model,
  view: TransformerModel,
  blocks: readonly Block[],
  options: RunOptions & { readonly batches: readonly Batch[] },
): Promise<Sensitivity | undefined> {
  const watched = blocks.filter(({ stream, projection }) => stream && projection)
  const batches = firstRows(options.batches, tokenLimit)
  if (watched.length === 0 || batches.length === 0) return undefined
  try {
    const { copy, sums } = addSensitivity(model, view, watched)
    const totals = new Map<string, Float64Array>()
    await runBatches(
      copy,
      batches,
      options,
      'weighing blocks',
      (results) => {
        for (const [key, name] of sums) {
          const part = numbersOf(results[name] as RuntimeTensor)
          const total = totals.get(key) ?? new Float64Array(part.length)
          for (let i = 0; i < part.length; i++)
            total[i] = (total[i] as number) + (part[i] as number)
          totals.set(key, total)
        }
      },
      (batch) => (batch.ids.length > 0 ? feedTargets(batch) : {}),
    )
    const scales = [...totals.values()].map(meanDiagonal)
    const mean = scales.reduce((sum, each) => sum + each, 0) / scales.length
    if (!(mean > 0 && Number.isFinite(mean))) return undefined
    return new Map([...totals].map(([key, total]) => [key, total.map((each) => each / mean)]))
  } catch (error) {
    if (!(error instanceof AttncError) || error.kind === 'interrupted') throw error
    options.log.info(`All blocks are weighed alike: ${error.message}`)
    return undefined
  }
}

function meanDiagonal(g: Float64Array): number {
  const d = Math.round(Math.sqrt(g.length))
  let sum = 0
  for (let i = 0; i < d; i++) sum += g[i * d + i] as number
  return sum / d
}

function addSensitivity(model: Model, view: TransformerModel, blocks: readonly Block[]) {
  const output = model.graph.outputs.find(({ type }) => type?.dataType?.startsWith('float'))
  if (!output) throw new AttncError('NO_LOSS', 'partial', 'The model has no floating output.')
  const copy = extractSubgraph(model.graph, new Map(), [output])
  const own = (value: Value): Value => copy.graph.values.get(value.name) as Value
  const last = output.type?.dims?.at(-1)
  const isLanguage = output.type?.dims?.length === 3 && last === view.vocabulary
  const reached = blocks.filter(({ stream }) => stream && copy.graph.values.has(stream.name))
  const sums = edit(copy.graph, 'attnc.sensitivity', (change) => {
    const logits = own(output)
    const losses = isLanguage
      ? addLikelihood(change, logits)
      : addProjection(change, logits, typeof last === 'number' ? last : 1)
    const masks = new TokenMasks(change)
    const maskOf = (tokens: TokenRows | undefined): Value | undefined => {
      if (!tokens) return undefined
      const mask = masks.of(tokens)
      return tokens.isFlat ? asColumn(change, mask) : unsqueezed(change, mask)
    }
    const mask = output.type?.dims?.length === 3 ? maskOf(tokensOf(view, output)) : undefined
    const weighed = mask ? change.add('Mul', [losses, mask]) : losses
    const loss = change.add('ReduceSum', [weighed], {
      attributes: { keepdims: { kind: 'int', value: 0n } },
    })
    const streams = reached.map(({ stream }) => own(stream as Value))
    const gradients = addGradients(change, loss, streams)
    for (const each of [...copy.graph.outputs]) change.hide(each)
    const found = new Map<string, string>()
    for (const [index, block] of reached.entries()) {
      const stream = streams[index] as Value
      const gradient = gradients.get(stream)
      if (!gradient) continue
      const sum = addProduct(
        change,
        stream,
        gradient,
        block.projection?.columns ?? 0,
        maskOf(block.tokens),
      )
      change.expose(sum)
      found.set(block.key, sum.name)
    }
    return found
  })
  return { copy, sums }
}

const unsqueezed = (change: GraphEdit, mask: Value): Value =>
  change.add('Unsqueeze', [mask, change.constant(int64Tensor([1], [-1]))])

const asColumn = (change: GraphEdit, mask: Value): Value =>
  change.add('Reshape', [mask, change.constant(int64Tensor([2], [-1, 1]))])

/** Every output times ±1 in a fixed order: the square of its gradient has the mean of JᵀJ. */
function addProjection(change: GraphEdit, output: Value, size: number): Value {
  let state = 1
  const signs = Array.from({ length: size }, () => {
    state = (state * 48271) % 2147483647
    return state & 1024 ? 1 : -1
  })
  const single = change.add('Cast', [output], { attributes: { to: { kind: 'int', value: 1n } } })
  return change.add('Mul', [single, change.constant(float32Tensor([size], signs))])
}

/** Σ ‖s‖²ggᵀ over tokens. */
function addProduct(
  change: GraphEdit,
  stream: Value,
  gradient: Value,
  size: number,
  mask: Value | undefined,
): Value {
  const last = change.constant(int64Tensor([1], [-1]))
  const toFloat = { attributes: { to: { kind: 'int', value: 1n } } } as const
  const single = change.add('Cast', [stream], toFloat)
  const squares = change.add('ReduceSum', [change.add('Mul', [single, single]), last])
  const floor = change.constant(float32Tensor([], [1e-12]))
  const norms = clipped(change, change.add('Sqrt', [change.add('Max', [squares, floor])]))
  const scale = mask ? change.add('Mul', [norms, mask]) : norms
  const scaled = change.add('Mul', [change.add('Cast', [gradient], toFloat), scale])
  const rows = change.add('Reshape', [scaled, change.constant(int64Tensor([2], [-1, size]))])
  const across = change.add('Transpose', [rows], {
    attributes: { perm: { kind: 'ints', value: [1n, 0n] } },
  })
  return change.add('MatMul', [across, rows])
}

/**
 * At most four times the geometric mean: some tokens of language models, the first above all, have norms
 * a thousand times those of others, and errors that don't grow with them (Sun et al. 2024, "Massive
 * activations in large language models").
 */
function clipped(change: GraphEdit, norms: Value): Value {
  const mean = change.add('ReduceMean', [change.add('Log', [norms])], {
    attributes: { keepdims: { kind: 'int', value: 0n } },
  })
  const most = change.add('Mul', [
    change.add('Exp', [mean]),
    change.constant(float32Tensor([], [4])),
  ])
  return change.add('Min', [norms, most])
}

/** One row of each batch, evenly over the data: what a backward pass keeps grows with the rows. */
export function firstRows(batches: readonly Batch[], limit: number): Batch[] {
  const length = batches[0]?.ids[0]?.length ?? 1
  const rows = Math.max(1, Math.floor(limit / length))
  const step = Math.max(1, Math.floor(batches.length / rows))
  const chosen = batches.filter((_, index) => index % step === 0).slice(0, rows)
  return length === 1 ? chosen : chosen.map(firstRow)
}

function firstRow(batch: Batch): Batch {
  const rows = batch.ids.length
  const one = (tensor: RuntimeTensor): RuntimeTensor => {
    if (tensor.dims[0] !== rows) return tensor
    const dims = [1, ...tensor.dims.slice(1)]
    const size = dims.reduce((product, dim) => product * dim, 1)
    return { dataType: tensor.dataType, dims, data: tensor.data.slice(0, size) as never }
  }
  return {
    feeds: Object.fromEntries(
      Object.entries(batch.feeds).map(([name, tensor]) => [name, one(tensor)]),
    ),
    tokenMask: batch.tokenMask && one(batch.tokenMask),
    ...(batch.tokenMasks && {
      tokenMasks: Object.fromEntries(
        Object.entries(batch.tokenMasks).map(([name, tensor]) => [name, one(tensor)]),
      ),
    }),
    ids: batch.ids.slice(0, 1),
  }
}
