/**
 * Patterns as text, and each kind of them on a language model: what runs equals dense attention
 * with the mask added.
 */
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Model } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { choosePasses } from '../../src/prune/choose-passes.js'
import { examine } from '../../src/sparse/examine.js'
import { parsePattern } from '../../src/sparse/pattern.js'
import { difference, type Feeds, runModel } from '../zoo/compare.js'

const example = resolve(import.meta.dirname, '../../examples/tiny-stories')
const open = (file = 'model.onnx'): Model => loadModel(join(example, file)).model

const ids = (batch: number, length: number): RuntimeTensor =>
  tensorOf(
    'int64',
    [batch, length],
    Array.from({ length: batch * length }, (_, i) => (i * 131) % 997),
  )
const ones = (batch: number, length: number): RuntimeTensor =>
  tensorOf('int64', [batch, length], new Float64Array(batch * length).fill(1))

async function rewritten(
  patterns: readonly string[],
  as: 'slice' | 'mask',
  file?: string,
): Promise<Model> {
  const model = open(file)
  const blocks = await examine(model)
  const attention = blocks.map(({ key, masks }) => ({ block: key, patterns, masks }))
  applyPart(model.graph, { slices: [], attention }, { as })
  return model
}

describe('a pattern', () => {
  const { heads } = readModel(open().graph).attention[0] as { heads: number }
  const perHead = Array.from({ length: heads }, (_, head) =>
    head % 3 === 0 ? 'dense' : `window:${8 * head}+sinks:4+block:16`,
  )
  it.each<[string, readonly string[]]>([
    ['a window and sinks', ['window:20+sinks:5+block:16']],
    ['a window alone', ['window:7+block:32']],
    ['strides that differ from head to head', ['strided:4+local:2+block:16']],
    ['every second block', ['dilated:2+reach:2+block:16']],
    ['a pattern for each head', perHead],
    [
      'heads that choose beside others',
      perHead.map((each, i) => (i % 2 ? each : 'topk:3+block:16')),
    ],
    ['the best blocks by count', ['topk:3+sinks:16+window:16+block:16']],
    ['the best blocks by mass', ['mass:0.6+block:16']],
  ])('of %s is dense attention with its mask added', async (_, patterns) => {
    const feeds: Feeds[] = [{ input_ids: ids(2, 101), attention_mask: ones(2, 101) }]
    const [sparse, masked, dense] = [
      await runModel(await rewritten(patterns, 'slice'), feeds),
      await runModel(await rewritten(patterns, 'mask'), feeds),
      await runModel(open(), feeds),
    ]
    expect(difference(sparse[0] ?? {}, masked[0] ?? {})).toBeLessThan(1e-5)
    // It does leave something out.
    expect(difference(sparse[0] ?? {}, dense[0] ?? {})).toBeGreaterThan(1e-3)
  })

  it('by head leaves a layer the heads that it has', async () => {
    const sizesOf = ({ graph }: Model) =>
      readModel(graph).attention.map((block) => [block.heads, block.keyValueHeads])
    for (const file of ['model.onnx', 'model_with_past.onnx'])
      for (const patterns of [perHead, ['dense', ...Array(heads - 1).fill('strided:3+local:1')]])
        expect(sizesOf(await rewritten(patterns, 'slice', file))).toEqual(sizesOf(open(file)))
  })

  it('honours padding on either side', async () => {
    const [batch, length] = [2, 90]
    const isReal = (sample: number, at: number): boolean => (sample === 0 ? at >= 30 : at < 70)
    const mask = tensorOf(
      'int64',
      [batch, length],
      Array.from({ length: batch * length }, (_, i) =>
        isReal(Math.floor(i / length), i % length) ? 1 : 0,
      ),
    )
    const feeds: Feeds[] = [{ input_ids: ids(batch, length), attention_mask: mask }]
    const [[dense], [sparse]] = [
      await runModel(open(), feeds),
      await runModel(await rewritten(['window:4096'], 'slice'), feeds),
    ]
    const [one, other] = [dense?.['logits'], sparse?.['logits']].map((each) =>
      each ? numbersOf(each) : [],
    )
    const width = (one?.length ?? 0) / (batch * length)
    let largest = 0
    for (let row = 0; row < batch * length; row++)
      if (isReal(Math.floor(row / length), row % length))
        for (let i = row * width; i < (row + 1) * width; i++)
          largest = Math.max(largest, Math.abs((one?.[i] ?? 0) - (other?.[i] ?? 1)))
    expect(largest).toBeLessThan(1e-3)
  })

  it.each([
    [['window:20+sinks:5+block:16']],
    [['dense', ...Array(heads - 1).fill('strided:3+local:1+block:16')]],
  ])(
    'holds for a model with a cache, which says last what the whole text gives: %s',
    async (patterns) => {
      const length = 61
      const whole = await runModel(await rewritten(patterns, 'slice'), [
        { input_ids: ids(1, length), attention_mask: ones(1, length) },
      ])
      const model = await rewritten(patterns, 'slice', 'model_with_past.onnx')
      const caches = model.graph.inputs.filter(({ type }) => type?.dims?.length === 4)
      const empty = Object.fromEntries(
        caches.map(({ name, type }) => {
          const [, heads = 1, , size = 1] = (type?.dims ?? []) as readonly number[]
          return [name, tensorOf('float32', [1, heads, 0, size], [])]
        }),
      )
      const positions = (from: number, count: number): RuntimeTensor =>
        tensorOf(
          'int64',
          [1, count],
          Array.from({ length: count }, (_, i) => from + i),
        )
      const named = (feeds: Feeds): Feeds =>
        Object.fromEntries(
          Object.entries(feeds).filter(([name]) =>
            model.graph.inputs.some((each) => each.name === name),
          ),
        )
      const text = ids(1, length)
      const part = (from: number, to: number): RuntimeTensor => ({
        ...text,
        dims: [1, to - from],
        data: text.data.slice(from, to),
      })
      const [first] = await runModel(model, [
        named({
          input_ids: part(0, 60),
          attention_mask: ones(1, 60),
          position_ids: positions(0, 60),
          ...empty,
        }),
      ])
      const outputs = model.graph.outputs
        .map(({ name }) => name)
        .filter((name) => name !== 'logits')
      const filled = Object.fromEntries(
        caches.map(({ name }, index) => [name, first?.[outputs[index] as string] as RuntimeTensor]),
      )
      const [second] = await runModel(model, [
        named({
          input_ids: part(60, 61),
          attention_mask: ones(1, 61),
          position_ids: positions(60, 1),
          ...filled,
        }),
      ])
      const [last, all] = [second?.['logits'], whole[0]?.['logits']].map((each) =>
        each ? numbersOf(each) : [],
      )
      const width = last?.length ?? 0
      const largest = Math.max(
        ...Array.from(last ?? [], (value, i) => Math.abs(value - (all?.[60 * width + i] ?? 0))),
      )
      expect(width).toBeGreaterThan(100)
      expect(largest).toBeLessThan(1e-3)
    },
  )
})

describe('a pattern is refused that', () => {
  it.each([
    ['is nothing known', 'windows:4', '"windows:4"'],
    ['has no number', 'window:', 'whole number'],
    ['has a negative number', 'window:-3', 'whole number'],
    ['says a thing twice', 'window:4+window:5', 'twice'],
    ['has sinks alone', 'sinks:4', 'none of window'],
    ['has a block that does not fit', 'window:64+block:40', 'multiple of 16'],
    ['mixes two kinds', 'window:64+strided:4', 'exclude'],
    ['has a stride alone', 'strided:4', 'go together'],
    ['keeps more than all', 'mass:1.5', 'at most 1'],
  ])('%s', (_, text, reason) => {
    expect(() => parsePattern(text)).toThrow(
      expect.objectContaining({ code: 'PATTERN', message: expect.stringContaining(reason) }),
    )
  })

  it.each([
    ['a pass that cuts behind it', ['sparsify', 'amp'], {}, 'PASS_ORDER'],
    ['a pattern without its pass', ['amp'], { pattern: 'window:64' }, 'PASS_FLAG'],
    ['a file that is not there', ['sparsify'], { pattern: 'nowhere.json' }, 'PATTERN_FILE'],
  ])('has %s', (_, names, flags, code) => {
    const view = readModel(open().graph)
    expect(() => choosePasses(names, flags, view)).toThrow(expect.objectContaining({ code }))
  })
})
