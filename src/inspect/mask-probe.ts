/**
 * Which keys a query may see, found by asking: the part of the graph between scores and
 * probabilities is run with equal scores, and what comes out as zero is masked. So a mask may be
 * written in any way, and is read with padding absent and an empty cache.
 */
import { extractSubgraph } from '../graph/extract.js'
import { intAttribute, type TensorType, type Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import { type Materialised, materialise } from '../runtime/materialise.js'
import { openSession, type Session } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'
import { Size } from '../shape/symbolic.js'
import { maskInputOf, maskKey } from './mask-key.js'
import { readPattern, type Visibility } from './visibility.js'

/** Lengths to try: short ones first, as positions may be limited; long ones show wide windows. */
const LENGTHS = [12, 48, 200, 600, 2400]

/** Samples where a single one is not enough, as when streams of one sample lie in the batch. */
const BATCH = 4

/** Scores of all heads together; beyond, the probe would cost more than it tells. */
const MAX_SCORES = 20_000_000

export async function probeVisibility(
  model: TransformerModel,
  signal?: AbortSignal,
): Promise<Map<LayeredAttention, Visibility>> {
  const found = new Map<LayeredAttention, Visibility>()
  const asked = new Map<string, LayeredAttention[]>()
  for (const block of model.attention) {
    const stated = statedVisibility(block)
    if (stated) found.set(block, stated)
    else {
      const key = maskKey(block)
      asked.set(key, [...(asked.get(key) ?? []), block])
    }
  }
  if (asked.size === 0) return found
  const leaders = [...asked.values()].flatMap((blocks) => blocks.slice(0, 1))
  const seen = await probeLeaders(model, leaders, signal)
  // What one block's mask is made of may not run on made-up numbers: the others are asked alone.
  if (seen.size === 0 && leaders.length > 1)
    for (const leader of leaders)
      for (const each of await probeLeaders(model, [leader], signal)) seen.set(...each)
  for (const [leader, visibility] of seen)
    for (const block of asked.get(maskKey(leader)) ?? []) found.set(block, visibility)
  return found
}

async function probeLeaders(
  model: TransformerModel,
  leaders: readonly LayeredAttention[],
  signal: AbortSignal | undefined,
): Promise<Map<LayeredAttention, Visibility>> {
  const found = new Map<LayeredAttention, Visibility>()
  const probe = await Probe.open(model, leaders, signal)
  if (!probe) return found
  try {
    let waiting = leaders
    for (const length of probe.hasLengths ? LENGTHS : LENGTHS.slice(0, 1)) {
      const seen = await probe
        .run(waiting, length, 1)
        .catch(() => (found.size > 0 ? undefined : probe.run(waiting, length, BATCH)))
        .catch(() => undefined)
      signal?.throwIfAborted()
      // Too short for the model's convolutions, or longer than its positions reach.
      if (!seen && found.size > 0) break
      for (const [block, visibility] of seen ?? []) found.set(block, visibility)
      // A window that was found once won't be found wider.
      waiting = waiting.filter((block) => !found.get(block)?.window)
      if (waiting.length === 0) break
      // Without any mask longer inputs say nothing new.
      const isOpen = ({ causal, window }: Visibility): boolean => !causal && !window
      if (length >= 48 && seen && [...seen.values()].every(isOpen)) break
    }
  } finally {
    await probe.close()
  }
  return found
}

/** Fused operators that say it in an attribute. */
function statedVisibility(block: LayeredAttention): Visibility | undefined {
  const { node } = block
  // Edges say who sees whom.
  if (block.over === 'edges') return { causal: false, window: undefined }
  const window = intAttribute(node, 'local_window_size', -1)
  if (node.op === 'GroupQueryAttention')
    return {
      causal: intAttribute(node, 'causal', 1) === 1,
      window: window > 0 ? window : undefined,
    }
  if (intAttribute(node, 'unidirectional', 0) === 1 || intAttribute(node, 'is_causal', 0) === 1)
    return { causal: true, window: undefined }
  if (!block.scores && !maskInputOf(block.node)) return { causal: false, window: undefined }
  return undefined
}

/** The part of the graph between scores and probabilities, open for inputs of any length. */
class Probe {
  private constructor(
    private readonly model: TransformerModel,
    private readonly file: Materialised,
    private readonly session: Session,
    private readonly cuts: ReadonlySet<Value>,
    private readonly outputs: ReadonlyMap<LayeredAttention, Value>,
  ) {}

  /** Undefined where no block has anything to probe, or the runtime refuses the part. */
  static async open(
    model: TransformerModel,
    blocks: readonly LayeredAttention[],
    signal: AbortSignal | undefined,
  ): Promise<Probe | undefined> {
    const cuts = new Map<Value, TensorType>()
    const outputs = new Map<LayeredAttention, Value>()
    const { shapes } = model.analysis
    for (const block of blocks) {
      const output = block.probabilities ?? maskInputOf(block.node)
      if (!output) continue
      outputs.set(block, output)
      if (!block.scores) continue
      const dims = shapes.dims(block.scores)?.map(() => undefined)
      cuts.set(block.scores, { dataType: shapes.dataType(block.scores) ?? 'float32', dims })
    }
    if (outputs.size === 0) return undefined
    const part = extractSubgraph(model.graph, cuts, [...new Set(outputs.values())])
    const file = materialise(part)
    try {
      const session = await openSession({
        path: file.path,
        optimization: 'basic',
        threads: 1,
        signal,
      })
      return new Probe(model, file, session, new Set(cuts.keys()), outputs)
    } catch {
      file.dispose()
      signal?.throwIfAborted()
      return undefined
    }
  }

  /** Whether any input has a length that may be chosen. */
  get hasLengths(): boolean {
    return [...chooseSizes(this.model, 2, 1).values()].some((size) => size === 2)
  }

  async run(
    blocks: readonly LayeredAttention[],
    length: number,
    batch: number,
  ): Promise<Map<LayeredAttention, Visibility>> {
    const overrides = chooseSizes(this.model, length, batch)
    const scores = this.sizesOfScores(overrides)
    const feeds: Record<string, RuntimeTensor> = {}
    let count = 0
    for (const { name, dims, dataType } of this.session.inputs) {
      const sizes = scores.has(name)
        ? scores.get(name)
        : dims.map((dim) =>
            typeof dim === 'number' && dim >= 0 ? dim : (overrides.get(String(dim)) ?? 1),
          )
      if (!sizes?.every((size) => size !== undefined))
        throw new RangeError('the size of the scores is not known')
      const numbers = elementCount(sizes as number[])
      count += numbers
      if (count > MAX_SCORES) throw new RangeError('the scores are too many to try')
      // Ones: every token is real. Scores are all alike, and not what a product makes zero of.
      const fill = new Float32Array(numbers).fill(1)
      feeds[name] = tensorOf(dataType, sizes as number[], fill)
    }
    const wanted = new Map([...this.outputs].filter(([block]) => blocks.includes(block)))
    const fetches = [...new Set([...wanted.values()].map(({ name }) => name))]
    const results = await this.session.run(feeds, fetches)
    return new Map(
      [...wanted].flatMap(([block, value]) => {
        const tensor = results[value.name]
        if (!tensor) return []
        const keys = block.scores && scores.get(block.scores.name)?.at(-1)
        return [[block, readPattern(tensor, Boolean(block.probabilities), keys)] as const]
      }),
    )
  }

  /** From what is known of them in symbols, or else by inferring all shapes for these sizes. */
  private sizesOfScores(
    overrides: ReadonlyMap<string, number>,
  ): Map<string, readonly (number | undefined)[] | undefined> {
    const { graph, analysis } = this.model
    const bySymbol = new Map([...overrides].map(([name, size]) => [Size.of(name).toString(), size]))
    const direct = [...this.cuts].map((value) => {
      const sizes = analysis.shapes.dims(value)?.map((size) => size.at(bySymbol))
      return [value.name, sizes] as const
    })
    if (direct.every(([, sizes]) => sizes?.every((size) => size !== undefined)))
      return new Map(direct)
    const shapes = inferShapes(graph, { overrides })
    return new Map(
      [...this.cuts].map((value) => [
        value.name,
        shapes.dims(value)?.map(({ value: size }) => size),
      ]),
    )
  }

  async close(): Promise<void> {
    await this.session.close()
    this.file.dispose()
  }
}

/** Caches empty, every other open size the length; a cache of what is fed too is as long as that. */
function chooseSizes(model: TransformerModel, length: number, batch: number): Map<string, number> {
  const sizes = new Map<string, number>()
  const [caches, others] = [true, false].map((isWanted) =>
    model.graph.inputs.filter((input) => isCache(input) === isWanted),
  )
  for (const input of [...(others ?? []), ...(caches ?? [])]) {
    const dims = input.type?.dims ?? []
    for (const [axis, dim] of dims.entries()) {
      const name =
        typeof dim === 'string' ? dim : dim === undefined ? `${input.name}.${axis}` : undefined
      if (name === undefined) continue
      if (axis === 0) sizes.set(name, batch)
      else if (!sizes.has(name)) sizes.set(name, isCache(input) ? 0 : length)
    }
  }
  return sizes
}

const isCache = ({ type: { dataType, dims = [] } = { dataType: undefined, dims: [] } }: Value) =>
  dims.length === 4 &&
  dataType?.includes('float') === true &&
  typeof dims[1] === 'number' &&
  typeof dims[3] === 'number'
