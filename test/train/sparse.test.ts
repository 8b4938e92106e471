/**
 * Models whose attention is attnc's own operators: their gradients equal differences, and those of the dense
 * model in which the pattern is a mask.
 */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../src/data/batch.js'
import { generator } from '../../src/data/generator.js'
import { estimateMemory } from '../../src/gradients/memory/step-memory.js'
import type { Model } from '../../src/graph/graph.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor, tensorOf, zeros } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import { examine } from '../../src/sparse/examine.js'
import { feedsOf, sizesOfFeeds } from '../../src/train/feeds.js'
import { chooseObjective, targetsOf } from '../../src/train/loss/objective.js'
import { adamW } from '../../src/train/optimizer.js'
import {
  buildLossGraph,
  buildTrainingGraph,
  COUNT,
  type Precision,
  RATE,
} from '../../src/train/training-graph.js'
import { vector } from '../../src/train/training-run.js'
import { PARAMETERS } from '../../src/train/weights/insert.js'
import { findTrainable, initialParameters } from '../../src/train/weights/trainable.js'
import { compareGradients } from '../gradients/directional.js'
import { sharedModel } from '../shared-models.js'
import { modelsIn } from '../zoo/compare.js'

const zoo = sharedModel('zoo')
const stories = sharedModel('tiny-stories')

/** One pattern, or one for each head with spaces between. */
const sparsified =
  (pattern: string, as: 'slice' | 'mask' = 'slice') =>
  async (model: Model): Promise<void> => {
    const able = (await examine(model)).filter(({ reason }) => reason === undefined)
    expect(able.length).toBeGreaterThan(0)
    const attention = able.map(({ key, masks }) => ({
      block: key,
      patterns: pattern.split(' '),
      masks,
    }))
    applyPart(model.graph, { slices: [], attention }, { as })
  }

/** Models, patterns, and whether all that can be is computed twice. */
const sample: readonly (readonly [name: string, pattern: string, isTwice: boolean])[] = [
  ['llama-gqa', 'window:6+block:16', false],
  ['llama-gqa-packed', 'window:6+sinks:2+block:16', true],
  ['llama-past-dyn', 'window:6+sinks:2+block:16', false],
  ['gpt2-dyn', 'strided:2+local:1+block:16', false],
  ['bert-dyn', 'window:6+sinks:2+block:16', true],
  // A bias that is learned, and a soft cap.
  ['t5-dyn', 'window:6+block:16', false],
  ['gemma2-dyn', 'mass:0.9+block:16', true],
]

const isQuantised = (name: string): boolean => /-(int8|nbits|qdq)$/.test(name)

const models = process.env['ATTNC_FULL']
  ? [
      ...sample,
      ...modelsIn(zoo ?? '')
        .filter((name) => !isQuantised(name))
        .map((name) => [name, 'window:6+sinks:2+block:16', false] as const),
    ]
  : sample

describe.runIf(zoo)('gradients of sparse models equal differences along a direction', () => {
  it.each(models)(
    '%s, %s, computed twice: %s',
    async (name, pattern, isTwice) => {
      const { weights } = await compareGradients(join(zoo ?? '', name), {
        seed: 1,
        count: 4,
        isTwice,
        prepare: sparsified(pattern),
      })
      expect(weights).toHaveLength(4)
      for (const { weight, difference } of weights) expect(difference, weight).toBeLessThan(0.02)
    },
    120_000,
  )
})

interface StepSettings {
  readonly isFixed?: boolean
  readonly isTwice?: boolean
  readonly length?: number
  readonly precision?: Precision
}

/** A step on random tokens, all weights of which are trained. */
async function stepOf(
  pattern: string,
  as: 'slice' | 'mask',
  { isFixed = false, isTwice = false, length = 96, precision }: StepSettings = {},
) {
  const { model } = loadModel(stories ?? '')
  await sparsified(pattern, as)(model)
  const random = generator(3)
  const ids = [0, 1].map(() => Array.from({ length: length }, () => Math.floor(2000 * random())))
  const ports = model.graph.inputs.filter(({ constant }) => !constant)
  const batch: Batch = {
    ids,
    tokenMask: undefined,
    feeds: Object.fromEntries(
      ports.map(({ name }) => {
        const numbers = /mask/.test(name)
          ? ids.flat().map(() => 1)
          : /position/.test(name)
            ? ids.flatMap((row) => [...row.keys()])
            : ids.flat()
        return [name, tensorOf('int64', [2, length], numbers)]
      }),
    ),
  }
  const objective = chooseObjective(model, [batch], false)
  const trainable = findTrainable(model.graph, { kind: 'full' })
  const feeds = { ...batch.feeds, ...targetsOf(objective, batch) }
  const sizes = sizesOfFeeds(model.graph, feeds)
  const options = { objective, trainable, optimizer: adamW(), clip: 1, accumulate: 1 }
  const step = buildTrainingGraph(model, {
    ...options,
    feeds: isFixed ? feeds : undefined,
    recompute: isTwice ? { share: 1, sizes } : undefined,
    precision,
  })
  return { step, feeds, trainable, judge: buildLossGraph(model, options) }
}

type Step = Awaited<ReturnType<typeof stepOf>>

async function gradientOf({ step, feeds, trainable }: Step): Promise<ArrayLike<number>> {
  const file = materialise(step.model)
  await using session = await openSession({ path: file.path, threads: 1 })
  const results = await session.run(
    feedsOf(session, {
      ...feeds,
      [PARAMETERS]: vector(initialParameters(trainable, 1)),
      ...Object.fromEntries(step.states.map((name) => [name, zeros('float32', [trainable.size])])),
      [RATE]: tensorOf('float32', [], [1e-3]),
      [COUNT]: tensorOf('float32', [], [1]),
    }),
  )
  file.dispose()
  const [momentum = ''] =
    Object.entries(step.carry).find(([, input]) => input === step.states[0]) ?? []
  return numbersOf(results[momentum] as RuntimeTensor)
}

function apart(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let [difference, size] = [0, 0]
  for (let i = 0; i < other.length; i++) {
    difference += ((one[i] ?? 0) - (other[i] as number)) ** 2
    size += (other[i] as number) ** 2
  }
  return Math.sqrt(difference / size)
}

const own = ({ model }: { readonly model: Model }): string[] =>
  [...model.graph.nodes()].filter(({ domain }) => domain === 'attnc').map(({ op }) => op)

describe.runIf(stories)('a step of a sparse model', () => {
  it.each([
    ['window:20+block:16', {}],
    ['window:20+sinks:3+block:16', { isFixed: true }],
    ['strided:3+local:2+block:16', { isTwice: true }],
    ['dilated:2+reach:2+block:16', {}],
    ['topk:3+block:16', { isFixed: true, isTwice: true }],
    ['mass:0.6+block:16', {}],
    [Array(3).fill('window:20+block:16 dense').join(' '), {}],
    [Array(2).fill('topk:3+block:16 strided:3+local:1+block:16 dense').join(' '), {}],
  ] as const)(
    'has the gradient of the dense model with the mask: %s, %o',
    async (pattern, options) => {
      const expected = await gradientOf(await stepOf(pattern, 'mask'))
      const found = await gradientOf(await stepOf(pattern, 'slice', options))
      expect(apart(found, expected)).toBeLessThan(1e-4)
    },
    120_000,
  )

  it('has nearly the same gradient in half precision', async () => {
    const pattern = 'window:20+sinks:3+block:16'
    const expected = await gradientOf(await stepOf(pattern, 'slice'))
    const half = await stepOf(pattern, 'slice', { isFixed: true, precision: 'float16' })
    expect(own(half.step)).toContain('BlockSparseAttention')
    expect(apart(await gradientOf(half), expected)).toBeLessThan(0.02)
  }, 120_000)

  it('runs the operators themselves forward, and so does what judges it', async () => {
    const { step, judge } = await stepOf('window:20+sinks:3+block:16', 'slice')
    expect(own(step)).toEqual(Array(4).fill('BlockSparseAttention'))
    expect(own(judge)).toEqual(own(step))
  })

  it('has its memory known, and needs less of it', async () => {
    const peakOf = async (as: 'slice' | 'mask'): Promise<number> => {
      const { step, feeds } = await stepOf('window:20+sinks:3+block:16', as, { length: 512 })
      const { peakBytes, unknown } = estimateMemory(
        step.model.graph,
        sizesOfFeeds(step.model.graph, feeds),
      )
      expect(unknown).toEqual([])
      return peakBytes
    }
    expect(await peakOf('slice')).toBeLessThan(await peakOf('mask'))
  })
})
