/**
 * Block after block on the model as pruned so far: what the output projection now reads, and what is
 * missing in the stream against the dense model, give the projection that repairs most of the damage
 * done before it and by its own losses. The streams between blocks are kept, so every block costs three
 * passes over its own part of the graph.
 */
import type { Batch } from '../../src/data/batch.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, TensorType, Value } from '../../src/graph/graph.js'
import { addToBias, canShift, findBias } from '../../src/model/bias.js'
import type { Block } from '../../src/model/block.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { float32Tensor, int64Tensor, type Tensor } from '../../src/onnx/tensor.js'
import { type RunOptions, runBatches, TOKEN_MASK } from '../../src/runtime/batches.js'

const DENSE = 'attnc.denseStream'

/** What a block's projection reads after everything before it was pruned. */
export interface Observation {
  /** Σ wxᵀx, [n, n]. */
  readonly moments: Float64Array
  /** Σ wxᵀδ, [n, D]: δ is what the dense stream has and the pruned one lacks. */
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

export interface NewProjection {
  readonly weight: Tensor
  readonly shift: Float32Array | undefined
}

export interface SequentialOptions extends RunOptions {
  readonly batches: readonly Batch[]
  /** Whether projections without a bias get one. */
  readonly addBias: boolean
}

/** The new weights of a block's projection; undefined leaves it as it is. */
export type Refit<Kind extends Block> = (
  block: Kind,
  observation: Observation,
) => Promise<NewProjection | undefined>

type Streams = Map<Value, RuntimeTensor[]>

/** Calls `refit` for each block in order of execution and puts its weights into a working copy. */
export async function refitInOrder<Kind extends Block>(
  model: Model,
  blocks: readonly Kind[],
  refit: Refit<Kind>,
  options: SequentialOptions,
): Promise<void> {
  const working = extractSubgraph(model.graph, new Map(), [...model.graph.outputs])
  const walk = new Walk(model, working, options)
  const groups = groupByStream(blocks)
  for (const [index, group] of groups.entries()) {
    const later = groups.slice(index + 1).flat()
    await walk.through(group, later, refit)
    options.log.progress('re-fitting', index + 1, groups.length)
  }
}

/** Blocks that write to the stream together: parallel attention and feed-forward. */
function groupByStream<Kind extends Block>(blocks: readonly Kind[]): Kind[][] {
  const groups: Kind[][] = []
  for (const block of blocks) {
    const last = groups.at(-1)
    if (last && block.stream && last[0]?.stream === block.stream) last.push(block)
    else groups.push([block])
  }
  return groups
}

class Walk {
  private readonly dense: Streams = new Map()
  private readonly pruned: Streams = new Map()

  constructor(
    private readonly model: Model,
    private readonly working: Model,
    private readonly options: SequentialOptions,
  ) {}

  async through<Kind extends Block>(
    group: readonly Kind[],
    later: readonly Block[],
    refit: Refit<Kind>,
  ): Promise<void> {
    const stream = group[0]?.stream
    const after = stream && (await this.run(this.model, this.dense, [stream]))
    for (const block of group) {
      const found = await refit(block, await this.observe(block, after?.[0]))
      const { values } = this.working.graph
      const weight = block.projection && values.get(block.projection.weight.name)
      const product = values.get(block.output.name)?.producer
      if (!found || !weight || !product) continue
      edit(this.working.graph, 'attnc.refit', (change) => {
        change.setConstant(weight, found.weight)
        if (found.shift) addToBias(change, product, found.shift)
      })
    }
    if (!stream || later.length === 0) return
    const now = await this.run(this.working, this.pruned, [stream])
    this.dense.set(stream, after?.[0] ?? [])
    this.pruned.set(stream, now[0] ?? [])
    this.forget(later)
  }

  /** Streams that no later block is computed from. */
  private forget(later: readonly Block[]): void {
    const wanted = later.flatMap(({ input, stream }) => (stream ? [input, stream] : [input]))
    const part = extractSubgraph(this.model.graph, this.cuts(this.model), wanted)
    for (const stream of this.dense.keys())
      if (!part.graph.inputs.some(({ name }) => name === stream.name)) {
        this.dense.delete(stream)
        this.pruned.delete(stream)
      }
  }

  private cuts(model: Model): Map<Value, TensorType> {
    return new Map(
      [...this.dense].map(([value, [first]]) => [
        model.graph.values.get(value.name) as Value,
        { dataType: first?.dataType ?? 'float32', dims: first && openDims(first) },
      ]),
    )
  }

  /** Values of each batch. */
  private async run(
    model: Model,
    streams: Streams,
    values: readonly Value[],
  ): Promise<RuntimeTensor[][]> {
    const own = values.map(({ name }) => model.graph.values.get(name) as Value)
    const part = extractSubgraph(model.graph, this.cuts(model), own)
    const collected: RuntimeTensor[][] = values.map(() => [])
    await this.each(part, streams, undefined, (results) => {
      for (const [index, { name }] of own.entries())
        collected[index]?.push(results[name] as RuntimeTensor)
    })
    return collected
  }

  private async observe(
    block: Block,
    after: readonly RuntimeTensor[] | undefined,
  ): Promise<Observation> {
    const hasMeans = this.hasMeans(block, after !== undefined)
    const { graph } = this.working
    const input = graph.values.get(block.input.name) as Value
    const stream = block.stream && (graph.values.get(block.stream.name) as Value)
    const part = extractSubgraph(graph, this.cuts(this.working), stream ? [input, stream] : [input])
    const names = edit(part.graph, 'attnc.observe', (change) => {
      const value = part.graph.values.get(input.name) as Value
      const own = stream && part.graph.values.get(stream.name)
      for (const output of [...part.graph.outputs]) change.hide(output)
      return addObservation(change, {
        block,
        input: value,
        stream: own,
        sample: after?.[0],
        hasMeans,
      })
    })
    // A column of ones stands behind the inputs: its moments are the sums.
    const n = block.width + (hasMeans ? 1 : 0)
    const moments = new Float64Array(n * n)
    let missing: Float64Array | undefined
    let tokens = 0
    await this.each(part, this.pruned, after, (results) => {
      addTo(moments, results[names.moments]?.data as Float32Array)
      const found = names.missing && (results[names.missing]?.data as Float32Array)
      if (found) {
        missing ??= new Float64Array(found.length)
        addTo(missing, found)
      }
      tokens += Number(results[names.tokens]?.data[0])
    })
    return {
      tokens,
      ...(hasMeans ? split(moments, missing, n - 1) : { moments, missing, means: undefined }),
    }
  }

  private hasMeans({ projection }: Block, isCompared: boolean): boolean {
    if (!projection || !isCompared || !canShift(projection.node)) return false
    return this.options.addBias || findBias(projection.node, projection.columns) !== undefined
  }

  private async each(
    part: Model,
    streams: Streams,
    after: readonly RuntimeTensor[] | undefined,
    take: (results: Record<string, RuntimeTensor>) => void,
  ): Promise<void> {
    const fed = (index: number): Record<string, RuntimeTensor | undefined> => ({
      [DENSE]: after?.[index],
      ...Object.fromEntries([...streams].map(([value, tensors]) => [value.name, tensors[index]])),
    })
    const { batches } = this.options
    await runBatches(part, batches, this.options, undefined, take, (_, index) => fed(index))
  }
}

/** Dimensions that may differ from batch to batch. */
const openDims = ({ dims }: RuntimeTensor): string[] => dims.map((_, axis) => `${axis}`)

function addTo(sum: Float64Array, part: Float32Array): void {
  for (let i = 0; i < part.length; i++) sum[i] = (sum[i] as number) + (part[i] as number)
}

const asFloat = { attributes: { to: { kind: 'int', value: 1n } } } as const
const swapped = { attributes: { perm: { kind: 'ints', value: [1n, 0n] } } } as const

interface Observed {
  readonly block: Block
  readonly input: Value
  readonly stream: Value | undefined
  readonly sample: RuntimeTensor | undefined
  readonly hasMeans: boolean
}

/** x with a column of ones behind it. */
function withOnes(change: GraphEdit, x: Value, last: Value): Value {
  const zero = change.constant(int64Tensor([1], [0]))
  const one = change.constant(int64Tensor([1], [1]))
  const column = change.add('Slice', [x, zero, one, last])
  const none = change.add('Mul', [column, change.constant(float32Tensor([], [0]))])
  const ones = change.add('Add', [none, change.constant(float32Tensor([], [1]))])
  return change.add('Concat', [x, ones], { attributes: { axis: { kind: 'int', value: -1n } } })
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

/** Σ wxᵀx and Σ wxᵀδ, w = mask / ‖dense stream‖². */
function addObservation(
  change: GraphEdit,
  { block, input, stream, sample, hasMeans }: Observed,
): { moments: string; missing: string | undefined; tokens: string } {
  const last = change.constant(int64Tensor([1], [-1]))
  const flat = (value: Value, size: number): Value =>
    change.add('Reshape', [value, change.constant(int64Tensor([2], [-1, size]))])
  const float = (value: Value): Value => change.add('Cast', [value], asFloat)
  const single = hasMeans ? withOnes(change, float(input), last) : float(input)
  const columns = block.projection?.columns
  const dense = stream && sample && change.addInput(DENSE, sample.dataType, openDims(sample))
  let scale: Value | undefined
  if (block.isTokenwise) {
    const mask = change.addInput(TOKEN_MASK, 'float32', ['batch', 'sequence'])
    scale = change.add('Unsqueeze', [mask, last])
  }
  if (dense) {
    const wide = float(dense)
    const squares = change.add('ReduceSum', [change.add('Mul', [wide, wide]), last])
    const floor = change.constant(float32Tensor([], [1e-12]))
    const norm = change.add('Sqrt', [change.add('Max', [squares, floor])])
    scale = scale ? change.add('Div', [scale, norm]) : change.add('Reciprocal', [norm])
  }
  const rows = flat(
    scale ? change.add('Mul', [single, scale]) : single,
    block.width + (hasMeans ? 1 : 0),
  )
  const across = change.add('Transpose', [rows], swapped)
  const moments = change.add('MatMul', [across, rows])
  let missing: Value | undefined
  if (dense && stream && scale && columns) {
    const gap = change.add('Sub', [float(dense), float(stream)])
    missing = change.add('MatMul', [across, flat(change.add('Mul', [gap, scale]), columns)])
    change.expose(missing)
  }
  const shape = change.add('Shape', [rows])
  const tokens = change.add('Cast', [shape], asFloat)
  change.expose(moments)
  change.expose(tokens)
  return { moments: moments.name, missing: missing?.name, tokens: tokens.name }
}
