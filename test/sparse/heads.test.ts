/**
 * Patterns by head as relations, on random assignments: what a head sees follows from its own pattern and its place
 * in the layer, whatever other heads follow and however heads are put together for the operators.
 */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { keptColumns } from '../../kernels/block-sparse-attention/layout.js'
import {
  denseLayout,
  dilatedLayout,
  stridedLayout,
  windowLayout,
} from '../../kernels/block-sparse-attention/patterns.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Node, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { findAddon, findKernelLibrary } from '../../src/runtime/native/library.js'
import { openNativeSession } from '../../src/runtime/native/session.js'
import { parsePattern } from '../../src/sparse/pattern.js'
import { build } from '../axes/builder.js'
import { runOnce } from '../runtime/run-once.js'
import { difference, runModel } from '../zoo/compare.js'

const hasKernels = findAddon() !== undefined && findKernelLibrary() !== undefined
if (!hasKernels)
  process.stderr.write('skipped: kernels are not built; "npm run build:native" builds them\n')

// H heads, K key-value heads, D head size, S tokens
const D = 8
const block = 16

interface Layer {
  readonly K: number
  readonly S: number
  readonly causal: boolean
  /** A bias of one head or of all stays beside the pattern. */
  readonly bias: 'none' | 'one' | 'all'
  /** One for each head. */
  readonly patterns: readonly string[]
}

const whole = (min: number, max: number) => fc.integer({ min, max })
const within = (text: fc.Arbitrary<string>) => text.map((each) => `${each}+block:${block}`)

const fixed = fc.oneof(
  fc.constant('dense'),
  within(whole(1, 60).map((n) => `window:${n}`)),
  within(fc.tuple(whole(1, 40), whole(0, 20)).map(([n, m]) => `window:${n}+sinks:${m}`)),
  within(fc.tuple(whole(1, 8), whole(1, 3)).map(([s, l]) => `strided:${s}+local:${l}`)),
  within(fc.tuple(whole(1, 3), whole(1, 3)).map(([d, n]) => `dilated:${d}+reach:${n}`)),
)
const chosen = fc.oneof(
  within(whole(1, 4).map((n) => `topk:${n}`)),
  within(whole(2, 9).map((n) => `mass:0.${n}`)),
)

/** Few patterns, so that several heads follow one, in any places. */
const layers = (pattern: fc.Arbitrary<string>): fc.Arbitrary<Layer> =>
  fc
    .tuple(whole(1, 3), whole(1, 3), fc.array(pattern, { minLength: 1, maxLength: 3 }))
    .chain(([K, shared, pool]) =>
      fc.record({
        K: fc.constant(K),
        S: whole(2, 120),
        causal: fc.boolean(),
        bias: fc.constantFrom('none', 'one', 'all'),
        patterns: fc.array(fc.constantFrom(...pool), {
          minLength: K * shared,
          maxLength: K * shared,
        }),
      }),
    )

const open = ({ K, S, causal, bias, patterns: { length: H } }: Layer): Model =>
  build((b) => {
    const C = H * D
    const x = b.input('x', ['batch', S, C])
    const split = (heads: number): Value =>
      b.transpose(b.reshape(b.linear(x, C, heads * D), 0, S, heads, D), 0, 2, 1, 3)
    const repeated = (value: Value): Value => {
      if (H === K) return value
      const apart = b.op('Unsqueeze', [value, b.integers(2)])
      return b.reshape(b.op('Expand', [apart, b.integers(1, K, H / K, S, D)]), -1, H, S, D)
    }
    const key = b.transpose(repeated(split(K)), 0, 1, 3, 2)
    let scores = b.op('MatMul', [split(H), key])
    if (bias !== 'none') scores = b.op('Add', [scores, b.weight(1, bias === 'all' ? H : 1, S, S)])
    const later = Array.from({ length: S * S }, (_, i) => (i % S > Math.floor(i / S) ? -1e9 : 0))
    if (causal) scores = b.op('Add', [scores, b.numbers(later, 1, 1, S, S)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), repeated(split(K))])
    return b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C), C, C)
  })

function rewritten(layer: Layer, as: 'slice' | 'mask'): Model {
  const model = open(layer)
  const { causal, bias, patterns } = layer
  const masks = { causal, kept: bias === 'none' ? [] : [0] }
  applyPart(
    model.graph,
    { slices: [], attention: [{ block: 'attention.0', patterns, masks }] },
    { as },
  )
  return model
}

const feedsOf = ({ S, patterns: { length: H } }: Layer): { readonly x: RuntimeTensor } => {
  const numbers = Array.from({ length: 2 * S * H * D }, (_, i) => 2 * Math.sin(i * 1.7 + i * i))
  return { x: tensorOf('float32', [2, S, H * D], numbers) }
}

const runKernels = (model: Model, feeds: { readonly x: RuntimeTensor }) =>
  runOnce(model, feeds, openNativeSession)

async function equalsMask(layer: Layer): Promise<void> {
  const feeds = feedsOf(layer)
  const [masked = {}] = await runModel(rewritten(layer, 'mask'), [feeds])
  const [sparse = {}] = await runModel(rewritten(layer, 'slice'), [feeds])
  expect(difference(sparse, masked)).toBeLessThan(1e-5)
  if (hasKernels)
    expect(difference(await runKernels(rewritten(layer, 'slice'), feeds), masked)).toBeLessThan(
      1e-5,
    )
}

it('a layer has the heads that it had, however they are put together', () => {
  const headsIn = (model: Model) =>
    readModel(model.graph).attention.map(({ heads, keyValueHeads }) => ({ heads, keyValueHeads }))
  fc.assert(
    fc.property(layers(fc.oneof(chosen, fixed)), (layer) => {
      expect(headsIn(rewritten(layer, 'slice'))).toEqual(headsIn(open(layer)))
    }),
    { numRuns: 60, seed: 8 },
  )
}, 120_000)

it('patterns of heads, mixed, are the dense layer with their masks', async () => {
  await fc.assert(fc.asyncProperty(layers(fixed), equalsMask), { numRuns: 40, seed: 5 })
}, 120_000)

it('so are blocks that are chosen while it runs, beside others', async () => {
  await fc.assert(fc.asyncProperty(layers(fc.oneof(chosen, fixed)), equalsMask), {
    numRuns: 30,
    seed: 6,
  })
}, 120_000)

/** By the builders of layouts that kernels are tested with. */
function layoutFor(text: string, { S, patterns: { length: heads } }: Layer) {
  const size = { queries: S, keys: S, queryBlock: block, keyBlock: block }
  const pattern = parsePattern(text)
  if (pattern.kind !== 'static') return denseLayout(size, true)
  const { window, sinks, stride, local, dilation, reach } = pattern
  if (stride > 0) return stridedLayout(size, { heads, localBlocks: local, stride })
  if (dilation > 0) return dilatedLayout(size, { reach, dilation, causal: true })
  return windowLayout(size, { window, sinks, causal: true })
}

/** Of a causal layer, [heads, queries, keys]: 1 where a pair is seen. */
function seenBy(layer: Layer): number[] {
  const { S, patterns } = layer
  return patterns.flatMap((text, head) => {
    const layout = layoutFor(text, layer)
    const pattern = parsePattern(text)
    const { window = 0, sinks = 0 } = pattern.kind === 'static' ? pattern : {}
    return Array.from({ length: S * S }, (_, i) => {
      const [query, key] = [Math.floor(i / S), i % S]
      const columns = keptColumns(
        layout,
        layout.rows.length > 1 ? head : 0,
        Math.floor(query / block),
      )
      const isNear = window === 0 || query - key < window || key < sinks
      return key <= query && isNear && columns.includes(Math.floor(key / block)) ? 1 : 0
    })
  })
}

it('the mask of a head is the layout that kernels know by its place', async () => {
  const causal = layers(fixed).map((layer): Layer => ({ ...layer, causal: true, bias: 'none' }))
  await fc.assert(
    fc.asyncProperty(causal, async (layer) => {
      const model = rewritten(layer, 'mask')
      edit(model.graph, 'test', (change) => {
        const softmax = [...model.graph.nodes()].find(({ op }) => op === 'Softmax') as Node
        change.expose(softmax.inputs[0]?.producer?.inputs[1] as Value)
      })
      const [results = {}] = await runModel(model, [feedsOf(layer)])
      const mask = numbersOf(Object.values(results)[1] as RuntimeTensor)
      const { S } = layer
      const found = Array.from(mask, (bias, i) =>
        i % S <= Math.floor(i / S) % S && bias === 0 ? 1 : 0,
      )
      expect(found).toEqual(seenBy(layer))
    }),
    { numRuns: 40, seed: 7 },
  )
}, 120_000)
