/**
 * What the masks of a model say, found by running their part of the graph: lengths are tried, and every
 * input that may be padding. A mask that is nothing but causality, a window and padding need not be
 * computed any more; all others stay. Nothing here looks at names.
 */
import { extractSubgraph } from '../graph/extract.js'
import type { Model, TensorType, Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import { ancestorsOf, isMeasure } from '../model/trace.js'
import { fromConstant, numbersOf, type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import { hasOpenBranches } from '../rewrite/first-branch.js'
import { materialise } from '../runtime/materialise.js'
import { openSession, type Session } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'
import { knownSizes } from '../shape/known-sizes.js'
import type { MaskFacts } from './mask-facts.js'
import { agreeing, type Meaning, meaningOf, type Padding } from './mask-meaning.js'
import { chooseSizes, holdsCache, type Lengths } from './probe-sizes.js'
import type { Mask, ReadAttention } from './read.js'

/** New tokens, and tokens in the cache. Long ones show wide windows. */
const TRIALS: readonly Lengths[] = [
  { fresh: 24, past: 0 },
  { fresh: 5, past: 11 },
  { fresh: 700, past: 0 },
]
/** Windows up to here are looked for where a constant hints at them. */
const longestTrial = 9000

export async function probeMasks(
  { graph }: Model,
  view: TransformerModel,
  blocks: readonly ReadAttention[],
  signal?: AbortSignal,
): Promise<Map<ReadAttention, MaskFacts>> {
  const masks = new Map(blocks.flatMap((block) => block.masks.map((mask) => [mask.value, mask])))
  const found = masks.size > 0 ? await probeAll(graph, view, masks, blocks, signal) : new Map()
  return new Map(blocks.map((block) => [block, combine(block, found)]))
}

function combine(
  { masks, softcap, isCleared }: ReadAttention,
  found: ReadonlyMap<Value, Meaning>,
): MaskFacts {
  const known = masks.map(({ value }) => found.get(value))
  const windows = known.flatMap((each) => each?.window ?? [])
  const paddings = new Set(known.flatMap((each) => each?.padding ?? []))
  // Two inputs that hide keys: the second one's mask stays. What is added would pass a soft cap, and where all
  // keys are padding it would leave something.
  const [padding] = softcap > 0 || isCleared ? [] : paddings
  const kept = known.flatMap((each, index) =>
    !each || (each.padding !== undefined && each.padding !== padding) ? [index] : [],
  )
  return {
    causal: known.some((each) => each?.causal),
    ...(windows.length > 0 && { window: Math.min(...windows) }),
    ...(padding !== undefined && { padding }),
    kept,
  }
}

async function probeAll(
  graph: Model['graph'],
  view: TransformerModel,
  masks: ReadonlyMap<Value, Mask>,
  blocks: readonly ReadAttention[],
  signal: AbortSignal | undefined,
): Promise<Map<Value, Meaning>> {
  const cuts = measuredActivations(view, [...masks.keys()])
  const part = extractSubgraph(graph, cuts, [...masks.keys()])
  const file = materialise(part)
  let session: Session | undefined
  try {
    session = await openSession({
      path: file.path,
      optimization: 'basic',
      threads: 1,
      signal,
    })
    const probe = new Probe(view, session, cuts, masks, blocks[0] as ReadAttention)
    return await probe.run()
  } catch {
    signal?.throwIfAborted()
    return new Map()
  } finally {
    await session?.close()
    file.dispose()
  }
}

/** Activations of which only the size is read: nothing that makes them has to run. */
function measuredActivations(
  view: TransformerModel,
  masks: readonly Value[],
): Map<Value, TensorType> {
  const { shapes, contractions } = view.analysis
  const products = new Set(contractions.map(({ node }) => node))
  const cuts = new Map<Value, TensorType>()
  // Scores may be added to by what activations say: those have to run.
  const read = new Set(
    masks.flatMap((mask) =>
      [...ancestorsOf(mask, (node) => !isMeasure(node))].flatMap((node) =>
        isMeasure(node) ? [] : node.inputs,
      ),
    ),
  )
  for (const mask of masks)
    for (const { op, domain, inputs } of ancestorsOf(mask)) {
      const [input] = inputs
      if (domain !== '' || (op !== 'Shape' && op !== 'Size') || !input?.producer) continue
      if (read.has(input)) continue
      // A mask's own part that is shaped like an activation is no activation.
      const made = [...ancestorsOf(input, (node) => !isMeasure(node))]
      if (!made.some((node) => products.has(node))) continue
      const dims = shapes.dims(input)?.map(() => undefined)
      cuts.set(input, { dataType: shapes.dataType(input) ?? 'float32', dims })
    }
  return cuts
}

class Probe {
  constructor(
    private readonly view: TransformerModel,
    private readonly session: Session,
    private readonly cuts: ReadonlyMap<Value, TensorType>,
    private readonly masks: ReadonlyMap<Value, Mask>,
    private readonly block: ReadAttention,
  ) {}

  async run(): Promise<Map<Value, Meaning>> {
    let meanings: Map<Value, Meaning | undefined> | undefined
    for (const lengths of this.trials()) {
      // Of two ways the blocks are of the one without a cache.
      const isFilled = holdsCache(this.view) && !hasOpenBranches(this.view.graph)
      if (lengths.past > 0 && !isFilled) continue
      const trial = await this.firstThatRuns(lengths)
      if (!trial) {
        // A cache that can't be filled for a trial leaves it open where queries stand.
        if (lengths.past > 0) return new Map()
        continue
      }
      const { sizes, seen } = trial
      const paddings = await this.tryPaddings(sizes, seen, lengths)
      if (!paddings) return new Map()
      const now = new Map(
        [...this.masks.keys()].map((mask) => [mask, meaningOf(seen.get(mask), paddings.get(mask))]),
      )
      meanings = meanings ? agreeing(meanings, now, lengths) : now
    }
    return new Map([...(meanings ?? [])].flatMap(([mask, each]) => (each ? [[mask, each]] : [])))
  }

  /** Trials that the model's sizes allow; one that is longer than any window a constant hints at. */
  private trials(): Lengths[] {
    const { shapes } = this.view.analysis
    const hints = [...this.masks.keys()].flatMap((mask) =>
      [...ancestorsOf(mask)].flatMap(({ inputs }) =>
        inputs.flatMap((input) => {
          const constant = input && shapes.constant(input)
          const tensor = constant?.dims.every((dim) => dim === 1)
            ? fromConstant(constant)
            : undefined
          return tensor ? Math.abs(numbersOf(tensor)[0] ?? 0) : []
        }),
      ),
    )
    const wide = hints.filter((hint) => Number.isInteger(hint) && hint > 600 && hint < longestTrial)
    const long = wide.length > 0 ? [{ fresh: Math.max(...wide) + 50, past: 0 }] : []
    return [...TRIALS, ...long]
  }

  private async firstThatRuns(lengths: Lengths) {
    for (const sizes of chooseSizes(this.view, this.block.block, lengths)) {
      const seen = await this.ask(sizes, undefined)
      if (seen) return { sizes, seen }
    }
    return undefined
  }

  /** Values of the masks; undefined where the model refuses the lengths. */
  private async ask(
    sizes: ReadonlyMap<string, number>,
    changed: { readonly name: string; readonly data: RuntimeTensor } | undefined,
  ): Promise<Map<Value, RuntimeTensor> | undefined> {
    const feeds: Record<string, RuntimeTensor> = {}
    const shapes = inferShapes(this.view.graph, { overrides: sizes })
    const cutByName = new Map([...this.cuts.keys()].map((value) => [value.name, value]))
    for (const { name, dims, dataType } of this.session.inputs) {
      const cut = cutByName.get(name)
      const own = cut
        ? knownSizes(cut, shapes)
        : dims.map((dim) => (typeof dim === 'number' && dim >= 0 ? dim : sizes.get(String(dim))))
      if (!own?.every((size) => size !== undefined)) return undefined
      const whole = own as number[]
      const fill = new Float32Array(elementCount(whole)).fill(cut ? 0 : 1)
      feeds[name] = changed?.name === name ? changed.data : tensorOf(dataType, whole, fill)
    }
    const results = await this.session.run(feeds).catch(() => undefined)
    return (
      results &&
      new Map([...this.masks.keys()].map((mask) => [mask, results[mask.name] as RuntimeTensor]))
    )
  }

  /**
   * By mask: the input whose zeros hide keys, and the masks' values then; null where an input changes
   * the mask in another way. Undefined where nothing could be tried.
   */
  private async tryPaddings(
    sizes: ReadonlyMap<string, number>,
    base: ReadonlyMap<Value, RuntimeTensor>,
    { fresh }: Lengths,
  ): Promise<Map<Value, Padding | null> | undefined> {
    const found = new Map<Value, Padding | null>()
    if (fresh > 100) return found
    const cutNames = new Set([...this.cuts.keys()].map(({ name }) => name))
    for (const { name, dims, dataType } of this.session.inputs) {
      if (cutNames.has(name)) continue
      const own = dims.map((dim) =>
        typeof dim === 'number' && dim >= 0 ? dim : (sizes.get(String(dim)) ?? 1),
      )
      const zeros = Array.from({ length: elementCount(own) }, (_, i) =>
        (i * 7 + 3) % 5 < 2 ? 0 : 1,
      )
      const data = tensorOf(dataType, own, zeros)
      const changed = await this.ask(sizes, { name, data })
      if (!changed) return undefined
      for (const mask of this.masks.keys()) {
        const [before, after] = [base.get(mask), changed.get(mask)]
        if (!before || !after || isSame(before, after)) continue
        const keys = after.dims.at(-1) as number
        const isKeys = own.length === 2 && own[1] === keys && !this.isLookedUp(name)
        found.set(mask, !found.has(mask) && isKeys ? { name, zeros, keys, after } : null)
      }
    }
    return found
  }

  /** Ids that stand for something are no padding, even where one of them is. */
  private isLookedUp(name: string): boolean {
    const input = this.view.graph.inputs.find((each) => each.name === name)
    return [...(input?.uses ?? [])].some(({ node, index }) => node.op === 'Gather' && index === 1)
  }
}

const isSame = (one: RuntimeTensor, other: RuntimeTensor): boolean =>
  one.data.every((value, index) => Object.is(value, other.data[index]))
