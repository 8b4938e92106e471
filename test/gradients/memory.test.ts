/** What a training step needs: estimated, measured, and less of it where parts are computed twice. */
import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { portsOf } from '../../src/data/open-data.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import { executionOrder } from '../../src/gradients/memory/execution-order.js'
import { findSegments } from '../../src/gradients/memory/segments.js'
import { bytesOf, estimateMemory, ownerOf } from '../../src/gradients/memory/step-memory.js'
import { edit } from '../../src/graph/edit.js'
import { Model, type Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import {
  numbersOf,
  type RuntimeTensor,
  tensorOf,
  toConstant,
  zeros,
} from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findAddon } from '../../src/runtime/native/library.js'
import { openNativeSession } from '../../src/runtime/native/session.js'
import { openSession, type Session } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { feedsOf, sizesOfFeeds } from '../../src/train/feeds.js'
import { chooseObjective, targetsOf } from '../../src/train/loss/objective.js'
import { adamW } from '../../src/train/optimizer.js'
import { train } from '../../src/train/train.js'
import type { TrainOptions } from '../../src/train/train-options.js'
import { buildTrainingGraph, COUNT, RATE } from '../../src/train/training-graph.js'
import { vector } from '../../src/train/training-run.js'
import { PARAMETERS } from '../../src/train/weights/insert.js'
import { findTrainable, initialParameters, type Method } from '../../src/train/weights/trainable.js'

const WIDTH = 24
const INNER = 96
const BLOCKS = 8
const ROWS = 256

/** x [batch, 24] + Gelu-like(x·W)·V, eight times; then 5 classes. A table is read by every block. */
function deep(): Model {
  const random = generator(4)
  const model = new Model()
  model.irVersion = 8
  model.opsets.set('', 17)
  edit(model.graph, 'test', (change) => {
    const draw = (...dims: number[]): Value => {
      const count = dims.reduce((product, size) => product * size, 1)
      const numbers = Array.from({ length: count }, () => (random() - 0.5) / 4)
      return change.constant(toConstant(tensorOf('float32', dims, numbers)), 'w')
    }
    let x = change.addInput('x', 'float32', ['batch', WIDTH])
    const shared = change.add('Sigmoid', [change.add('MatMul', [x, draw(WIDTH, 1)])])
    for (let block = 0; block < BLOCKS; block++) {
      const inner = change.add('MatMul', [x, draw(WIDTH, INNER)])
      const bent = change.add('Mul', [inner, change.add('Sigmoid', [inner])])
      const gated = change.add('Mul', [change.add('Tanh', [bent]), shared])
      x = change.add('Add', [x, change.add('MatMul', [gated, draw(INNER, WIDTH)])])
    }
    const scores = change.add('MatMul', [x, draw(WIDTH, 5)], { output: 'scores' })
    change.setType(scores, { dataType: 'float32', dims: ['batch', 5] })
    change.expose(scores)
  })
  return model
}

function samples(count: number) {
  const random = generator(9)
  const x = Array.from({ length: count * WIDTH }, () => random() * 2 - 1)
  const labels = Array.from({ length: count }, (_, row) =>
    Math.floor(Math.abs(x[row * WIDTH] ?? 0) * 5),
  )
  const arrays = {
    x: tensorOf('float32', [count, WIDTH], x),
    labels: tensorOf('int64', [count], labels),
  }
  return sliceArrays(arrays, portsOf(deep()), { what: 'test', batchSize: ROWS })
}

const full: Method = { kind: 'full' }
const lora: Method = {
  kind: 'lora',
  rank: 4,
  alpha: 4,
  targets: ['attention', 'feedForward', 'others'],
}

function stepOf(method: Method, share: number | undefined) {
  const model = deep()
  const batches = samples(ROWS)
  const objective = chooseObjective(model, batches)
  const trainable = findTrainable(model.graph, method)
  const feeds = { ...batches[0]?.feeds, ...targetsOf(objective, batches[0] as never) }
  const sizes = new Map([
    ['batch', ROWS],
    ['attnc.axis0', ROWS],
  ])
  const recompute = share === undefined ? undefined : { share, sizes }
  const optimizer = adamW()
  const step = buildTrainingGraph(model, {
    objective,
    trainable,
    optimizer,
    clip: 1,
    accumulate: 1,
    recompute,
  })
  const parameters = initialParameters(trainable, 1)
  // The other half of a low-rank update begins at zero, and so do half of the gradients.
  const random = generator(2)
  if (method.kind === 'lora')
    for (let i = 0; i < parameters.length; i++) parameters[i] = (random() - 0.5) / 4
  const all = (session: Session) =>
    feedsOf(session, {
      ...feeds,
      [PARAMETERS]: vector(parameters),
      ...Object.fromEntries(step.states.map((name) => [name, zeros('float32', [trainable.size])])),
      [RATE]: tensorOf('float32', [], [1e-3]),
      [COUNT]: tensorOf('float32', [], [1]),
    })
  return { step, all, sizes: sizesOfFeeds(step.model.graph, feeds) }
}

async function runStep(method: Method, share: number | undefined) {
  const { step, all } = stepOf(method, share)
  const file = materialise(step.model)
  await using session = await openSession({ path: file.path, threads: 1 })
  const results = await session.run(all(session))
  file.dispose()
  const momentum =
    Object.entries(step.carry).find(([, input]) => input === step.states[0])?.[0] ?? ''
  return {
    loss: numbersOf(results[step.loss] as RuntimeTensor)[0],
    gradient: numbersOf(results[momentum] as RuntimeTensor),
  }
}

describe('a forward pass that is run twice', () => {
  it.each([
    ['full', full],
    ['lora', lora],
  ] as const)(
    'has the same loss and gradient, %s',
    async (_, method) => {
      const once = await runStep(method, undefined)
      const largest = Math.max(...once.gradient.map(Math.abs))
      expect(largest).toBeGreaterThan(1e-4)
      for (const share of [0, 0.5, 1]) {
        const twice = await runStep(method, share)
        expect(twice.loss).toBeCloseTo(once.loss as number, 6)
        const worst = Math.max(
          ...once.gradient.map((each, at) => Math.abs(each - (twice.gradient[at] as number))),
        )
        expect(worst / largest).toBeLessThan(1e-6)
      }
    },
    60_000,
  )

  const addon = findAddon()
  const canMeasure = addon?.memory !== undefined
  if (!canMeasure)
    process.stdout.write('Memory of sessions is not measured: the addon is not built\n')

  it.skipIf(!canMeasure)(
    'needs far less memory, as much as its shapes say',
    async () => {
      const measured: number[] = []
      for (const share of [undefined, 0.5, 1]) {
        const { step, all, sizes } = stepOf(full, share)
        const file = materialise(step.model)
        await using session = await openNativeSession({
          path: file.path,
          threads: 1,
          sparing: true,
        })
        await session.run(all(session))
        const { mostInUse } = session.memory ?? { mostInUse: 0 }
        file.dispose()
        const { peakBytes, fedBytes, constantBytes } = estimateMemory(step.model.graph, sizes)
        const computed = peakBytes - fedBytes - constantBytes
        expect(Math.abs(computed / mostInUse - 1)).toBeLessThan(0.25)
        measured.push(mostInUse)
      }
      const [kept = 0, half = 0, twice = 0] = measured
      expect(half).toBeLessThan(0.8 * kept)
      expect(twice).toBeLessThan(0.65 * kept)
    },
    60_000,
  )
})

describe('segments', () => {
  it('are cut where only the stream crosses, whatever the blocks are called', () => {
    const { graph } = deep()
    const shapes = inferShapes(graph)
    const sizes = new Map([['batch', ROWS]])
    const segments = findSegments({
      nodes: [...graph.nodes()],
      isOwn: (value) => value.producer !== undefined,
      bytesOf: (value) => bytesOf(value, shapes, sizes) ?? 0,
      ownerOf: (value) => ownerOf(value, shapes),
    })
    const shared = [...graph.nodes()].find(({ op }) => op === 'Sigmoid')?.outputs[0]
    expect(segments.length).toBeGreaterThan(BLOCKS / 2)
    for (const { leaving } of segments.slice(0, -1)) {
      const stream = leaving.filter((value) => value !== shared)
      expect(stream.length).toBeLessThanOrEqual(1)
      for (const { producer } of stream) expect(producer?.op).toBe('Add')
    }
    expect(segments.flatMap(({ nodes }) => nodes)).toEqual([...graph.nodes()])
  })
})

describe('the order of execution', () => {
  it('makes everything before it is read, and puts off what nobody needs yet', () => {
    const { step } = stepOf(full, undefined)
    const order = executionOrder(step.model.graph)
    const places = new Map(order.map((node, place) => [node, place]))
    expect(order).toHaveLength(step.model.graph.nodesById.size)
    for (const node of order)
      for (const input of node.inputs)
        if (input?.producer)
          expect(places.get(input.producer)).toBeLessThan(places.get(node) as number)
  })
})

describe('training within a limit', () => {
  const options: TrainOptions = {
    batches: samples(4 * ROWS),
    method: full,
    updates: 6,
    batchSize: ROWS,
    rate: 0.01,
    judgeEvery: 3,
    seed: 1,
    threads: 1,
    log: silentLog,
  }

  it('computes twice what does not fit, and learns the same', async () => {
    const said: string[] = []
    const log = { ...silentLog, info: (text: string) => void said.push(text) }
    const free = await train(deep(), { ...options, log })
    expect(said).toEqual([])
    const tight = await train(deep(), { ...options, log, memoryLimit: 4_500_000 })
    expect(said.join()).toMatch(/% of the forward pass is computed twice/)
    for (const [at, { heldOut }] of free.curve.entries())
      expect(tight.curve[at]?.heldOut).toBeCloseTo(heldOut, 5)
  }, 60_000)

  it('is refused before it begins where nothing helps, with both numbers and a way out', async () => {
    await expect(train(deep(), { ...options, memoryLimit: 900_000 })).rejects.toMatchObject({
      code: 'TOO_LITTLE_MEMORY',
      message: expect.stringMatching(/256 samples needs about .* MB.*the limit is 900 kB/),
      suggestions: expect.arrayContaining([
        expect.stringMatching(/--batch-size \d+.*--accumulate/),
      ]),
    })
  })
})
