/**
 * Which keys a query may see, found by asking: the part of the graph between scores and
 * probabilities is run with equal scores, and what comes out as zero is masked. So a mask may be
 * written in any way, and is read with padding absent and an empty cache.
 */
import { extractSubgraph } from '../graph/extract.js'
import type { TensorType, Value } from '../graph/graph.js'
import { intAttribute } from '../graph/graph.js'
import type { LayeredAttention, TransformerModel } from '../model/model.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { materialise } from '../runtime/materialise.js'
import { openSession } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'

export interface Visibility {
  readonly causal: boolean
  /** Keys seen at most, counted as the model's makers do: width behind for causal attention, both sides together otherwise. */
  readonly window: number | undefined
}

/** Lengths to try: short ones first, as positions may be limited; long ones show wide windows. */
const LENGTHS = [12, 48, 200, 600, 2400]

/** Scores of all heads together; beyond, the probe would cost more than it tells. */
const MAX_SCORES = 20_000_000

export async function probeVisibility(
  model: TransformerModel,
  signal?: AbortSignal,
): Promise<Map<LayeredAttention, Visibility>> {
  const found = new Map<LayeredAttention, Visibility>()
  for (const block of model.attention) {
    const stated = statedVisibility(block)
    if (stated) found.set(block, stated)
  }
  let waiting = model.attention.filter((block) => !found.has(block))
  for (const length of LENGTHS) {
    if (waiting.length === 0) break
    const seen = await probeAt(model, waiting, length, signal).catch(() => {
      signal?.throwIfAborted()
      return undefined
    })
    // Too short for the model's convolutions, or longer than its positions reach.
    if (!seen && found.size > 0 && length > 12) break
    if (!seen) continue
    for (const [block, visibility] of seen) {
      const before = found.get(block)
      found.set(block, visibility)
      // A window that was found once won't be found wider.
      if (before && before.causal === visibility.causal && !visibility.window) continue
    }
    waiting = waiting.filter((block) => !found.get(block)?.window)
    // Masks are data of the model's own making: without any, longer inputs say nothing new.
    if (length >= 48 && [...seen.values()].every(({ causal, window }) => !causal && !window)) break
  }
  return found
}

/** Fused operators that say it in an attribute. */
function statedVisibility(block: LayeredAttention): Visibility | undefined {
  const { node } = block
  const window = intAttribute(node, 'local_window_size', -1)
  if (node.op === 'GroupQueryAttention')
    return {
      causal: intAttribute(node, 'causal', 1) === 1,
      window: window > 0 ? window : undefined,
    }
  if (intAttribute(node, 'unidirectional', 0) === 1 || intAttribute(node, 'is_causal', 0) === 1)
    return { causal: true, window: undefined }
  if (!block.scores && !maskInput(block)) return { causal: false, window: undefined }
  return undefined
}

/** The operand of a fused operator that is added to, or chosen by, the scores. */
function maskInput(block: LayeredAttention): Value | undefined {
  const { node } = block
  if (node.domain === '') return node.inputs[3]
  return node.inputs[5]
}

async function probeAt(
  model: TransformerModel,
  blocks: readonly LayeredAttention[],
  length: number,
  signal: AbortSignal | undefined,
): Promise<Map<LayeredAttention, Visibility>> {
  const { graph } = model
  const overrides = chooseSizes(model, length)
  const shapes = inferShapes(graph, { overrides })
  const cuts = new Map<Value, TensorType>()
  const outputs = new Map<LayeredAttention, Value>()
  for (const block of blocks) {
    const output = block.probabilities ?? maskInput(block)
    if (!output) continue
    outputs.set(block, output)
    const dims = block.scores && shapes.dims(block.scores)?.map((size) => size.value)
    if (!block.scores) continue
    if (!dims?.every((size) => size !== undefined && size > 0))
      throw new RangeError('the size of the scores is not known')
    const count = dims.reduce((product: number, dim) => product * (dim as number), 1)
    if (count * blocks.length > MAX_SCORES) throw new RangeError('the scores are too many to try')
    cuts.set(block.scores, { dataType: shapes.dataType(block.scores) ?? 'float32', dims })
  }
  const part = extractSubgraph(graph, cuts, [...new Set(outputs.values())])
  const file = materialise(part)
  try {
    await using session = await openSession({
      path: file.path,
      optimization: 'basic',
      threads: 1,
      signal,
    })
    const feeds = Object.fromEntries(
      session.inputs.map((port): [string, RuntimeTensor] => {
        const dims = port.dims.map((dim) =>
          typeof dim === 'number' && dim >= 0 ? dim : (overrides.get(String(dim)) ?? 1),
        )
        const isScores = [...cuts.keys()].some((value) => value.name === port.name)
        const count = dims.reduce((product, dim) => product * dim, 1)
        // Ones: every token is real. Scores are all alike.
        return [
          port.name,
          tensorOf(port.dataType, dims, new Float32Array(count).fill(isScores ? 0 : 1)),
        ]
      }),
    )
    const results = await session.run(feeds)
    return new Map(
      [...outputs].flatMap(([block, value]) => {
        const tensor = results[value.name]
        return tensor ? [[block, readPattern(tensor, Boolean(block.probabilities))] as const] : []
      }),
    )
  } finally {
    file.dispose()
  }
}

/** One sample, caches empty, every other open size the length. */
function chooseSizes(model: TransformerModel, length: number): Map<string, number> {
  const sizes = new Map<string, number>()
  for (const input of model.graph.inputs) {
    const dims = input.type?.dims ?? []
    const isCache =
      dims.length === 4 &&
      input.type?.dataType?.includes('float') &&
      typeof dims[1] === 'number' &&
      typeof dims[3] === 'number'
    for (const [axis, dim] of dims.entries()) {
      const name =
        typeof dim === 'string' ? dim : dim === undefined ? `${input.name}.${axis}` : undefined
      if (name === undefined) continue
      if (axis === 0) sizes.set(name, 1)
      else if (isCache) sizes.set(name, 0)
      else if (!sizes.has(name)) sizes.set(name, length)
    }
  }
  return sizes
}

/** From [..., queries, keys]: which pairs are open in any head. */
function readPattern(tensor: RuntimeTensor, isProbability: boolean): Visibility {
  const values = numbersOf(tensor)
  const [queries = 1, keys = 1] = tensor.dims.slice(-2)
  const offset = keys - queries
  let isCausal = queries > 1 && offset >= 0
  let behind = 0
  let ahead = 0
  const isOpen = (value: number): boolean =>
    isProbability ? value > 1e-30 : tensor.dataType === 'bool' ? value !== 0 : value > -1e4
  const area = queries * keys
  for (let at = 0; at < values.length; at++) {
    if (!isOpen(values[at] as number)) continue
    const query = Math.floor((at % area) / keys) + offset
    const distance = query - (at % keys)
    if (distance < 0) isCausal = false
    behind = Math.max(behind, distance)
    ahead = Math.max(ahead, -distance)
  }
  const isWindow = offset === 0 && behind + 1 < queries
  return {
    causal: isCausal,
    window: isWindow ? (isCausal ? behind + 1 : behind + ahead) : undefined,
  }
}
