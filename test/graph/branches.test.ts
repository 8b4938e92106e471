/** Branches that share weights stand open in memory; on writing they are as they were, whatever was done in between. */
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { analyseAxes } from '../../src/axes/analysis.js'
import { generator } from '../../src/data/generator.js'
import { checkModel } from '../../src/graph/check.js'
import { edit } from '../../src/graph/edit.js'
import { exportModel } from '../../src/graph/export.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Graph, Model } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
import { openBranches } from '../../src/graph/open-branches.js'
import { inspect } from '../../src/inspect/inspect.js'
import { probeVisibility } from '../../src/inspect/mask-probe.js'
import { addToBias } from '../../src/model/bias.js'
import { findCarry } from '../../src/model/cache-branch.js'
import { readModel } from '../../src/model/model.js'
import { decodeModel } from '../../src/onnx/codec.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { build } from '../axes/builder.js'
import {
  bytesOf,
  canLose,
  compareModels,
  difference,
  randomKeep,
  rewritten,
  runModel,
} from '../zoo/compare.js'
import { type MergedOptions, mergedDecoder, mergedFeeds } from './merged-decoder.js'

const kinds: Readonly<Record<string, MergedOptions>> = {
  'a decoder': {},
  'a decoder whose weights stand in both branches': { weights: 'in both' },
  'a decoder that goes on from a cache where the condition is false': { cacheIn: 'else' },
  'a decoder that is told when there is no cache': { chosenBy: 'opposite', hasEncoder: true },
  'a decoder that looks whether its cache holds tokens': { chosenBy: 'length' },
  'a decoder with an encoder': { hasEncoder: true },
  'a decoder with an encoder, weights in both': { hasEncoder: true, weights: 'in both' },
}

/** As it comes from a file. */
const reread = (bytes: Uint8Array): Model => importModel(decodeModel(bytes))

const opened = (bytes: Uint8Array): Model => {
  const model = reread(bytes)
  openBranches(model)
  return model
}

const feedsOf = (options: MergedOptions) => [mergedFeeds(options, 0), mergedFeeds(options, 5, 2)]

const weightsOf = (graph: Graph): number =>
  [...graph.initializers()]
    .map(({ constant }) => constant?.dims ?? [])
    .filter((dims) => dims.length > 0)
    .reduce((sum, dims) => sum + elementCount(dims), 0)

describe.each(Object.entries(kinds))('%s', (_, options) => {
  const bytes = bytesOf(mergedDecoder(options))

  it('stands open in memory, lawfully, and has each weight once', () => {
    const { graph } = opened(bytes)
    expect(checkModel(graph.model).violations).toEqual([])
    const both = weightsOf(opened(bytesOf(mergedDecoder({ ...options, weights: 'shared' }))).graph)
    expect(weightsOf(graph)).toBe(both)
    expect([...graph.nodes()].filter(({ op }) => op === 'Softmax').length).toBe(
      options.hasEncoder ? 8 : 4,
    )
  })

  it('says the same in both ways once it is written', async () => {
    const feeds = feedsOf(options)
    const before = await runModel(reread(bytes), feeds)
    const after = await runModel(opened(bytes), feeds)
    for (const [index, each] of after.entries())
      expect(difference(each, before[index] ?? {})).toBe(0)
  })

  it('has no node beside the If when it is written', () => {
    const written = exportModel(opened(bytes))
    const nodes = written.graph?.node?.map(({ op_type }) => op_type) ?? []
    expect(nodes.filter((op) => op === 'Softmax')).toEqual([])
    expect(nodes.at(-1)).toBe('If')
  })

  it('is read as one model of two layers, whose blocks may all lose something', () => {
    const view = readModel(opened(bytes).graph)
    expect(view.layers).toBe(2)
    expect(view.attention.map(({ kind }) => kind)).toEqual(
      options.hasEncoder ? ['self', 'cross', 'self', 'cross'] : ['self', 'self'],
    )
    expect(view.attention.every(({ again }) => again)).toBe(true)
    expect(view.feedForward.length).toBe(2)
    const ids = view.dimensions.filter(canLose).map(({ id }) => id)
    for (const layer of [0, 1])
      expect(ids).toEqual(
        expect.arrayContaining([`layer.${layer}.keyValueHeads`, `layer.${layer}.width`]),
      )
  })

  it('is said to have branches, and each reason once', async () => {
    const found = await inspect(opened(bytes))
    expect(found.branches?.length).toBe(1)
    expect(found.unrecognised).toEqual([])
    for (const { reasons } of found.dimensions)
      for (const { node } of reasons) expect(node).not.toContain('_branch/')
  })

  it('loses members in both ways as their masks say', async () => {
    const view = readModel(opened(bytes).graph)
    const able = view.dimensions.filter(canLose)
    for (const { id, size } of able) {
      const keep = Array.from({ length: size }, (_, i) => i).filter((i) => i !== 1)
      const found = await compareModels(
        () => opened(bytes),
        feedsOf(options),
        new Map([[id, keep]]),
      )
      expect(found, id).toBeLessThan(1e-5)
    }
    const all = new Map(
      able.map(({ id, size }) => [id, Array.from({ length: size - 1 }, (_, i) => i)]),
    )
    expect(await compareModels(() => opened(bytes), feedsOf(options), all)).toBeLessThan(1e-5)
  })

  it('is seen to be causal where it reads itself', async () => {
    const { graph } = opened(bytes)
    const view = readModel(graph)
    const seen = await probeVisibility(view)
    expect(view.attention.map((block) => seen.get(block)?.causal)).toEqual(
      view.attention.map(({ kind }) => kind === 'self'),
    )
  })

  it('hands each state on to the input that reads it', () => {
    const { graph } = opened(bytes)
    const carry = findCarry(graph)
    const pasts = graph.inputs.filter(({ name }) => name.startsWith('past.'))
    expect(carry.size).toBe(pasts.length)
    for (const [output, input] of carry) expect(output.replace('present', 'past')).toBe(input)
  })

  it('gets a shift of a bias in both branches', async () => {
    const model = opened(bytes)
    const view = readModel(model.graph)
    const node = view.feedForward[0]?.outputProjection.node
    const columns = node?.outputs[0] && analyseAxes(model.graph).axes(node.outputs[0])?.at(-1)
    if (!node || !columns?.size.value) throw new Error('there is no feed-forward')
    const shift = new Float32Array(columns.size.value).fill(0.25)
    edit(model.graph, 'shift', (change) => addToBias(change, node, shift))
    const feeds = feedsOf(options)
    const [before, after] = [await runModel(opened(bytes), feeds), await runModel(model, feeds)]
    for (const [index, each] of after.entries())
      expect(difference(each, before[index] ?? {})).toBeGreaterThan(1e-3)
    // Removing the shift again is the model as it was: both branches had it once.
    edit(model.graph, 'back', (change) =>
      addToBias(
        change,
        node,
        shift.map((each) => -each),
      ),
    )
    const back = await runModel(model, feeds)
    for (const [index, each] of back.entries())
      expect(difference(each, before[index] ?? {})).toBeLessThan(1e-5)
  })
})

describe('a file with branches', () => {
  it.each([{}, { cacheIn: 'else' }, { hasEncoder: true }] satisfies MergedOptions[])(
    'comes back byte for byte: %o',
    (options) => {
      const bytes = bytesOf(mergedDecoder(options))
      expect(Buffer.compare(bytesOf(opened(bytes)), bytes)).toBe(0)
    },
  )

  it('is smaller where weights stood in both', () => {
    const bytes = bytesOf(mergedDecoder({ weights: 'in both' }))
    expect(bytesOf(opened(bytes)).length).toBeLessThan(0.75 * bytes.length)
  })

  it('runs the branch that values are taken from, and the other only where it is chosen', async () => {
    const options = { hasEncoder: true }
    const { graph } = opened(bytesOf(mergedDecoder(options)))
    const [inside] = readModel(graph).feedForward.map(({ hidden }) => hidden)
    if (!inside) throw new Error('there is no feed-forward')
    const part = extractSubgraph(graph, new Map(), [...graph.outputs, inside])
    // Without a cache the second way doesn't run: its cross-attention has no keys.
    const [found] = await runModel(part, [mergedFeeds(options, 0)])
    const [dense] = await runModel(opened(bytesOf(mergedDecoder(options))), [
      mergedFeeds(options, 0),
    ])
    expect(found?.[inside.name]?.dims).toEqual([2, 3, 10])
    expect(found?.['logits']?.data).toEqual(dense?.['logits']?.data)
  })
})

test('any choice of members goes from both branches, and stays gone in the file', async () => {
  const options = fc.record({
    layers: fc.constantFrom(1, 2),
    heads: fc.integer({ min: 2, max: 4 }),
    size: fc.integer({ min: 2, max: 5 }),
    width: fc.integer({ min: 2, max: 12 }),
    weights: fc.constantFrom('shared' as const, 'in both' as const),
    cacheIn: fc.constantFrom('then' as const, 'else' as const),
    chosenBy: fc.constantFrom('input' as const, 'opposite' as const, 'length' as const),
    hasEncoder: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(options, fc.integer(), async (own, seed) => {
      const bytes = bytesOf(mergedDecoder(own))
      const random = generator(seed)
      const choice = new Map(
        readModel(opened(bytes).graph)
          .dimensions.filter((each) => canLose(each) && random() < 0.6)
          .map((each) => [each.id, randomKeep(each, random)]),
      )
      expect(await compareModels(() => opened(bytes), feedsOf(own), choice)).toBeLessThan(1e-5)
      const sliced = rewritten(opened(bytes), choice, 'slice')
      const written = bytesOf(sliced)
      const again = opened(written)
      expect(Buffer.compare(bytesOf(again), written)).toBe(0)
      expect(weightsOf(again.graph)).toBe(weightsOf(sliced.graph))
    }),
    { numRuns: 15, seed: 19 },
  )
}, 120_000)

describe('branches that are no ways of one model', () => {
  const isOpen = (model: Model): boolean => {
    openBranches(model)
    return [...model.graph.nodes()].length > 1
  }

  it.each(['nothing', 'a small part'])('stay as they are where they share %s', (what) => {
    const model = build((b) => {
      const x = b.input('x', ['batch', 4])
      const choice = b.input('choice', [1], 'bool')
      const small = b.weight(4, 4)
      const way = (width: number) => (inner: typeof b) => {
        const first = what === 'nothing' ? inner.weight(4, 4) : small
        const hidden = inner.op('MatMul', [x, first])
        // Each draws the same numbers in its own order.
        return inner.linear(inner.linear(hidden, 4, width), width, 4)
      }
      return b.branch(choice, way(32), way(48))
    })
    expect(isOpen(model)).toBe(false)
  })

  it('stay as they are where they have no weights', () => {
    const bytes = bytesOf(
      build((b) => {
        const x = b.input('x', ['batch', 4])
        const choice = b.input('choice', [1], 'bool')
        return b.branch(
          choice,
          (inner) => inner.op('Relu', [x]),
          (inner) => inner.op('Neg', [x]),
        )
      }),
    )
    expect(Buffer.compare(bytesOf(opened(bytes)), bytes)).toBe(0)
  })
})
