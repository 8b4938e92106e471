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
}

export interface SequentialOptions extends RunOptions {
  readonly batches: readonly Batch[]
}

/** The new weight of a block's projection; undefined leaves it as it is. */
export type Refit<Kind extends Block> = (
  block: Kind,
  observation: Observation,
) => Tensor | undefined

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
      const weight = refit(block, await this.observe(block, after?.[0]))
      const own = block.projection && this.working.graph.values.get(block.projection.weight.name)
      if (weight && own)
        edit(this.working.graph, 'attnc.refit', (change) => change.setConstant(own, weight))
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
    const { graph } = this.working
    const input = graph.values.get(block.input.name) as Value
    const stream = block.stream && (graph.values.get(block.stream.name) as Value)
    const part = extractSubgraph(graph, this.cuts(this.working), stream ? [input, stream] : [input])
    const names = edit(part.graph, 'attnc.observe', (change) => {
      const value = part.graph.values.get(input.name) as Value
      const own = stream && part.graph.values.get(stream.name)
      for (const output of [...part.graph.outputs]) change.hide(output)
      return addObservation(change, block, value, own, after?.[0])
    })
    const n = block.width
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
    return { moments, missing, tokens }
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

/** Σ wxᵀx and Σ wxᵀδ, w = mask / ‖dense stream‖². */
function addObservation(
  change: GraphEdit,
  block: Block,
  input: Value,
  stream: Value | undefined,
  sample: RuntimeTensor | undefined,
): { moments: string; missing: string | undefined; tokens: string } {
  const last = change.constant(int64Tensor([1], [-1]))
  const flat = (value: Value, size: number): Value =>
    change.add('Reshape', [value, change.constant(int64Tensor([2], [-1, size]))])
  const float = (value: Value): Value => change.add('Cast', [value], asFloat)
  const single = float(input)
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
  const rows = flat(scale ? change.add('Mul', [single, scale]) : single, block.width)
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
