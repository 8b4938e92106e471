/**
 * Attention that stays dense, by attnc's operator or ONNX Runtime's: it is what it was, and which
 * is taken is measured.
 */
import { describe, expect, it } from 'vitest'
import { surelyFastest } from '../../passes/sparsify/dense.js'
import { sparsify } from '../../passes/sparsify/index.js'
import { edit } from '../../src/graph/edit.js'
import { type Attribute, Model, type Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import type { PassContext } from '../../src/plan/pass.js'
import type { AttentionPatterns } from '../../src/plan/plan.js'
import { examine } from '../../src/sparse/examine.js'
import { Builder } from '../axes/builder.js'
import { numbers } from '../kernels/cases.js'
import { difference, type Feeds, runModel } from '../zoo/compare.js'

const [batch, length, heads, size] = [2, 37, 4, 8]
const width = heads * size
const int = (value: number): Attribute => ({ kind: 'int', value: BigInt(value) })

interface Layer {
  readonly op: 'GroupQueryAttention' | 'MultiHeadAttention'
  readonly keyValueHeads: number
  readonly attributes?: Readonly<Record<string, Attribute>>
}

/** One layer of attention without a cache. */
function modelOf({ op, keyValueHeads, attributes = {} }: Layer): Model {
  const model = new Model()
  model.opsets.set('', 18)
  model.opsets.set('com.microsoft', 1)
  model.irVersion = 10
  edit(model.graph, 'layer', (change) => {
    const build = new Builder(change)
    const x = build.input('x', ['batch', 'length', width])
    const isGrouped = op === 'GroupQueryAttention'
    const more = isGrouped
      ? [
          undefined,
          undefined,
          build.input('lengths', ['batch'], 'int32'),
          build.input('total', [], 'int32'),
        ]
      : []
    const projected = [heads, keyValueHeads, keyValueHeads].map((count) =>
      build.linear(x, width, count * size),
    )
    const { outputs } = change.addNode({
      op,
      domain: 'com.microsoft',
      inputs: [...projected, ...more],
      outputs: isGrouped ? ['context', 'key', 'value'] : ['context'],
      attributes: {
        num_heads: int(heads),
        ...(isGrouped && { kv_num_heads: int(keyValueHeads) }),
        ...attributes,
      },
    })
    const result = build.linear(outputs[0] as Value, width, width)
    change.setType(result, { dataType: 'float32', dims: ['batch', 'length', width] })
    change.expose(result)
  })
  return model
}

const feeds = (model: Model): Feeds => {
  const all: Feeds = {
    x: tensorOf('float32', [batch, length, width], numbers(batch * length * width, 1)),
    lengths: tensorOf('int32', [batch], new Float64Array(batch).fill(length - 1)),
    total: tensorOf('int32', [], [length]),
  }
  const names = model.graph.inputs.map(({ name }) => name)
  return Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name)))
}

async function fused(layer: Layer, operator: AttentionPatterns['operator']): Promise<Model> {
  const model = modelOf(layer)
  const attention = (await examine(model)).map(({ key, masks }) => ({
    block: key,
    patterns: ['dense'],
    masks,
    operator,
  }))
  applyPart(model.graph, { slices: [], attention })
  return model
}

const grouped: Layer = { op: 'GroupQueryAttention', keyValueHeads: 2 }
const apart: Layer = { op: 'GroupQueryAttention', keyValueHeads: heads }
const both: Layer = { op: 'MultiHeadAttention', keyValueHeads: heads }
const near: Layer = { ...grouped, attributes: { local_window_size: int(9) } }

describe('dense attention', () => {
  it.each<[string, Layer, AttentionPatterns['operator'], string]>([
    ['causal, groups of heads', grouped, undefined, 'BlockSparseAttention'],
    ['causal, groups of heads', grouped, 'GroupQueryAttention', 'GroupQueryAttention'],
    ['causal, a window', near, undefined, 'BlockSparseAttention'],
    ['causal, a window', near, 'GroupQueryAttention', 'GroupQueryAttention'],
    ['causal, a key for each head', apart, 'MultiHeadAttention', 'MultiHeadAttention'],
    ['to both sides', both, undefined, 'BlockSparseAttention'],
    ['to both sides', both, 'MultiHeadAttention', 'MultiHeadAttention'],
  ])('that is %s is the same: %#', async (_, layer, operator, op) => {
    const model = await fused(layer, operator)
    expect([...model.graph.nodes()].map((node) => node.op)).toContain(op)
    const [expected] = await runModel(modelOf(layer), [feeds(model)])
    const [made] = await runModel(model, [feeds(model)])
    expect(Object.keys(made ?? {})).toEqual(Object.keys(expected ?? {}))
    expect(difference(made ?? {}, expected ?? {})).toBeLessThan(1e-5)
  })

  it.each<[string, Layer, AttentionPatterns['operator'], RegExp]>([
    ['groups', grouped, 'MultiHeadAttention', /no groups of heads/],
    ['windows', { ...near, keyValueHeads: heads }, 'MultiHeadAttention', /no window/],
    ['later keys', both, 'GroupQueryAttention', /no attention to later keys/],
  ])('with %s is refused by an operator without them', async (_, layer, operator, reason) => {
    await expect(fused(layer, operator)).rejects.toThrow(reason)
  })
})

describe('the way that dense attention takes', () => {
  const around = (ms: number): number[] => [1, 1.02, 0.99, 1.01, 0.98, 1].map((x) => x * ms)

  it.each<[string, (number[] | undefined)[], number | undefined]>([
    ['the fastest', [around(10), around(8), around(6)], 2],
    ['none that is slower', [around(10), around(12), around(11)], undefined],
    ['none that may be as slow', [around(10), [7, 12, 8, 13, 11, 9]], undefined],
    ['none that could not run', [around(10), undefined, around(9)], 2],
    ['none beside an original that could not run', [undefined, around(1)], undefined],
  ])('is %s', (_, times, index) => {
    expect(surelyFastest(times.map((clock) => clock && { clock }))?.index).toBe(index)
  })

  it('goes by the processor where the clock says less', () => {
    const [busy, busier] = [
      [10, 30, 12, 45, 9, 20],
      [30, 9, 40, 8, 25, 13],
    ]
    const times = [
      { clock: busy, processor: around(10) },
      { clock: busier, processor: around(8) },
    ]
    expect(surelyFastest(times)?.index).toBe(1)
    expect(surelyFastest(times.map(({ clock }) => ({ clock })))).toBeUndefined()
  })

  it('is measured on the model, and changes nothing that it says', async () => {
    const folder = new URL('../../examples/tiny-stories/model.onnx', import.meta.url).pathname
    const open = (): Model => loadModel(folder).model
    const source = loadModel(folder)
    const said: string[] = []
    const context: PassContext = {
      source,
      single: true,
      model: source.model,
      view: readModel(source.model.graph),
      batches: undefined,
      training: undefined,
      canCalibrate: false,
      calibrate: async () => new Map(),
      siblings: () => [],
      hasCache: false,
      threads: 1,
      log: { ...silentLog, info: (text: string) => said.push(text) },
    }
    const part = await sparsify({ pattern: 'dense' })
      .decide(context)
      .catch((error: { code?: string }) => {
        // Which way is fastest is the machine's business; that none was is an answer too.
        expect(error.code).toBe('NOTHING_SPARSIFIED')
        return undefined
      })
    expect(said[0]).toMatch(/^attention\.0 and \d+ like it stay dense/)
    if (!part || Array.isArray(part)) return
    const model = open()
    applyPart(model.graph, part as Parameters<typeof applyPart>[1])
    const ids = Array.from({ length: 70 }, (_, i) => (i * 131) % 997)
    const given: Feeds = {
      input_ids: tensorOf('int64', [1, 70], ids),
      attention_mask: tensorOf('int64', [1, 70], new Float64Array(70).fill(1)),
    }
    const [[dense], [made]] = [await runModel(open(), [given]), await runModel(model, [given])]
    expect(difference(made ?? {}, dense ?? {})).toBeLessThan(1e-5)
  })
})
