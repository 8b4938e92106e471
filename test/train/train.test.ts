/** Training as a whole: what it reaches, how it goes on, and how it stops. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { Batch } from '../../src/data/batch.js'
import { generator } from '../../src/data/generator.js'
import { portsOf } from '../../src/data/open-data.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { Model, type Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import {
  fromConstant,
  numbersOf,
  type RuntimeTensor,
  tensorOf,
  toConstant,
} from '../../src/onnx/numbers.js'
import type { Tensor } from '../../src/onnx/tensor.js'
import { shareOfRate } from '../../src/train/optimizer.js'
import { sampler } from '../../src/train/sampling.js'
import { train } from '../../src/train/train.js'
import type { TrainOptions } from '../../src/train/train-options.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-train-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** x [batch, 6] → 12 → 3 classes, as MatMul and as Gemm with a turned weight. */
function classifier(): Model {
  const random = generator(7)
  const model = new Model()
  model.irVersion = 8
  model.opsets.set('', 17)
  edit(model.graph, 'test', (change) => {
    const draw = (dims: number[]): Value => {
      const count = dims.reduce((product, size) => product * size, 1)
      const numbers = Array.from({ length: count }, () => (random() - 0.5) * 0.6)
      return change.constant(toConstant(tensorOf('float32', dims, numbers)), `w${dims.join('x')}`)
    }
    const x = change.addInput('x', 'float32', ['batch', 6])
    const hidden = change.add('Tanh', [change.add('MatMul', [x, draw([6, 12])])])
    const scores = change.add('Gemm', [hidden, draw([3, 12]), draw([3])], {
      output: 'scores',
      attributes: { transB: { kind: 'int', value: 1n } },
    })
    change.setType(scores, { dataType: 'float32', dims: ['batch', 3] })
    change.expose(scores)
  })
  return model
}

/** Which of three sums of pairs is the largest. */
function samples(count: number, seed: number, size = 8): Batch[] {
  const random = generator(seed)
  const x = Array.from({ length: count * 6 }, () => random() * 2 - 1)
  const labels = Array.from({ length: count }, (_, row) => {
    const pairs = [0, 2, 4].map((i) => (x[row * 6 + i] as number) + (x[row * 6 + i + 1] as number))
    return pairs.indexOf(Math.max(...pairs))
  })
  const arrays = {
    x: tensorOf('float32', [count, 6], x),
    labels: tensorOf('int64', [count], labels),
  }
  return sliceArrays(arrays, portsOf(classifier()), { what: 'test', batchSize: size })
}

const options: TrainOptions = {
  batches: samples(192, 1),
  heldOut: samples(64, 2, 64),
  method: { kind: 'full' },
  updates: 60,
  batchSize: 16,
  rate: 0.03,
  judgeEvery: 20,
  patience: 9,
  seed: 3,
  threads: 1,
  log: silentLog,
}

describe('train', () => {
  it.each([
    ['full' as const, { kind: 'full' as const }],
    ['lora' as const, { kind: 'lora' as const, rank: 3, alpha: 6 }],
  ])(
    '%s learns, and the folded weights judge as the trained graph did',
    async (_, method) => {
      const model = classifier()
      const found = await train(model, { ...options, method })
      expect(found.before).toBeGreaterThan(1)
      expect(found.best).toBeLessThan(0.5)
      expect(found.curve.map(({ update }) => update)).toEqual([20, 40, 60])
      edit(model.graph, 'fold', (change) => {
        for (const { name, tensor } of found.weights)
          change.setConstant(model.graph.values.get(name) as Value, tensor)
      })
      const again = await train(model, { ...options, updates: 1, judgeEvery: 1, rate: 0 })
      expect(again.before).toBeCloseTo(found.best, 4)
    },
    60_000,
  )

  it('of two runs that average ends in one model, better than one alone', async () => {
    const shared = join(folder, 'together')
    const shares = [0, 1].map((rank) => options.batches.filter((_, at) => at % 2 === rank))
    const short = { ...options, updates: 20 }
    const run = (rank: number) =>
      train(classifier(), {
        ...short,
        batches: shares[rank] as Batch[],
        averaging: { folder: shared, rank, count: 2, every: 5 },
      })
    const [first, second] = await Promise.all([run(0), run(1)])
    const bytes = ({ weights }: typeof first) => weights.map(({ tensor }) => [...tensor.bytes()])
    expect(bytes(first)).toEqual(bytes(second))
    const alone = await train(classifier(), { ...short, batches: shares[0] as Batch[] })
    expect(bytes(alone)).not.toEqual(bytes(first))
    expect(first.best).toBeLessThan(alone.best + 0.05)
  })

  it.each([
    ['plain', undefined],
    ['with a scaled loss', { initial: 2 ** 10, interval: 8 }],
  ])(
    'goes on from a checkpoint to the numbers of a run in one go, %s',
    async (name, scaling) => {
      const checkpoint = join(folder, `${name}.npz`)
      const method = { kind: 'lora', rank: 2, alpha: 2 } as const
      const whole = await train(classifier(), { ...options, method, scaling, accumulate: 2 })
      const controller = new AbortController()
      const interrupted = train(classifier(), {
        ...options,
        method,
        scaling,
        accumulate: 2,
        checkpoint,
        signal: controller.signal,
        log: {
          ...silentLog,
          progress: (step, done) => {
            if (step === 'training' && done === 47) controller.abort()
          },
        },
      })
      await expect(interrupted).rejects.toThrow()
      const rest = await train(classifier(), {
        ...options,
        method,
        scaling,
        accumulate: 2,
        checkpoint,
      })
      expect(rest.curve.map(({ update }) => update)).toEqual([60])
      expect(rest.curve.at(-1)?.heldOut).toBe(whole.curve.at(-1)?.heldOut)
      expect(rest.weights.map(({ tensor }) => [...tensor.bytes()])).toEqual(
        whole.weights.map(({ tensor }) => [...tensor.bytes()]),
      )
      const other = train(classifier(), {
        ...options,
        method,
        scaling,
        rate: 1,
        accumulate: 2,
        checkpoint,
      })
      await expect(other).rejects.toMatchObject({ code: 'RESUME_MISMATCH' })
    },
    60_000,
  )

  it('leaves what another output reads alone as it is, decay included', async () => {
    const model = classifier()
    edit(model.graph, 'test', (change) => {
      const [x] = model.graph.inputs
      const numbers = Array.from({ length: 24 }, (_, at) => Math.cos(at))
      const weight = change.constant(toConstant(tensorOf('float32', [6, 4], numbers)), 'beside')
      change.expose(change.add('MatMul', [x, weight], { output: 'other' }))
    })
    const { weights } = await train(model, { ...options, updates: 4, judgeEvery: 2 })
    expect(weights.map(({ name }) => name)).not.toContain('beside')
    expect(weights.length).toBeGreaterThan(1)
  })

  it('stops at the first loss that is not finite, and says where', async () => {
    const [first] = samples(16, 1, 16)
    const { data } = first?.feeds['x'] ?? { data: new Float32Array() }
    data[5] = Number.NaN
    const broken = train(classifier(), { ...options, batches: [first as Batch], batchSize: 16 })
    await expect(broken).rejects.toMatchObject({
      code: 'LOSS_NOT_FINITE',
      message: expect.stringMatching(/Update 1 .*first value that is not finite is the input "x"/),
    })
  }, 60_000)

  it('refuses weights that are no numbers before anything runs', async () => {
    const model = classifier()
    const weight = [...model.graph.initializers()].find(
      ({ constant }) => constant?.dims.length === 2 && constant.dataType === 'float32',
    ) as Value
    edit(model.graph, 'spoil', (change) => {
      const numbers = [...numbersOf(fromConstant(weight.constant as Tensor) as RuntimeTensor)]
      numbers[3] = Number.NaN
      const { dims } = weight.constant as Tensor
      change.setConstant(weight, toConstant(tensorOf('float32', dims, numbers)))
    })
    await expect(train(model, options)).rejects.toMatchObject({
      code: 'WEIGHT_NOT_FINITE',
      message: expect.stringContaining('is NaN at element 3'),
      oclif: { exit: 4 },
    })
  })

  it('says at which operator numbers overflow, or at which gradient', async () => {
    const spoiled = (factor: number, then: (change: GraphEdit, scores: Value) => Value): Model => {
      const model = classifier()
      edit(model.graph, 'spoil', (change) => {
        const scores = model.graph.values.get('scores') as Value
        const constant = change.constant(toConstant(tensorOf('float32', [], [factor])))
        const wrong = then(change, change.add('Mul', [scores, constant], { output: 'raised' }))
        change.hide(scores)
        change.setType(wrong, { dataType: 'float32', dims: ['batch', 3] })
        change.expose(wrong)
      })
      return model
    }
    const forward = spoiled(1e5, (change, x) => change.add('Exp', [x], { output: 'too-large' }))
    await expect(train(forward, options)).rejects.toMatchObject({
      code: 'LOSS_NOT_FINITE',
      message: expect.stringMatching(/a loss of .* not finite is "too-large" \(Exp\)\.$/),
    })
    // √0 is finite and its slope is not.
    const backward = spoiled(0, (change, x) => change.add('Sqrt', [x], { output: 'root' }))
    await expect(train(backward, options)).rejects.toMatchObject({
      code: 'LOSS_NOT_FINITE',
      message: expect.stringMatching(
        /a gradient that is .* is the gradient of "raised" \(Mul\)\.$/,
      ),
    })
  }, 60_000)

  it('takes batches whose scaled gradients overflow at a scale that fits, and leaves them out where none does', async () => {
    const whole = { ...options, updates: 40, scaling: { initial: 2 ** 10, interval: 8 } }
    const scaled = await train(classifier(), whole)
    const plain = await train(classifier(), { ...options, updates: 40 })
    for (const [at, { heldOut }] of plain.curve.entries())
      expect(scaled.curve[at]?.heldOut).toBeCloseTo(heldOut, 4)
    const said: string[] = []
    const log = { ...silentLog, info: (text: string) => void said.push(text) }
    // Between the two factors gradients are 2²⁴ times as large, which 2¹²⁰ leaves no room for.
    const steep = classifier()
    edit(steep.graph, 'steep', (change) => {
      const scores = steep.graph.values.get('scores') as Value
      const times = (x: Value, factor: number, output: string): Value =>
        change.add('Mul', [x, change.constant(toConstant(tensorOf('float32', [], [factor])))], {
          output,
        })
      const result = times(times(scores, 2 ** -24, 'small'), 2 ** 24, 'result')
      change.hide(scores)
      change.setType(result, { dataType: 'float32', dims: ['batch', 3] })
      change.expose(result)
    })
    const from = async (initial: number) => {
      said.length = 0
      const scaling = { initial, interval: 1000 }
      const { curve } = await train(steep, { ...options, updates: 40, log, scaling })
      const leftOut = /^(\d+) batches were left out/m.exec(said.join('\n'))?.[1] ?? '0'
      return { curve, leftOut: Number(leftOut) }
    }
    const near = await from(2 ** 108)
    expect(near.leftOut).toBe(0)
    for (const [at, { heldOut }] of plain.curve.entries())
      expect(near.curve[at]?.heldOut).toBeCloseTo(heldOut, 4)
    const far = await from(2 ** 120)
    expect(far.leftOut).toBeGreaterThan(0)
    expect(far.leftOut).toBeLessThan(10)
    expect(far.curve.at(-1)?.heldOut).toBeLessThan(far.curve[0]?.heldOut as number)
  }, 60_000)

  it('goes over to single precision where half overflows, unless half was asked for', async () => {
    const high = classifier()
    edit(high.graph, 'high', (change) => {
      const scores = high.graph.values.get('scores') as Value
      const times = (x: Value, factor: number): Value =>
        change.add('Mul', [x, change.constant(toConstant(tensorOf('float32', [], [factor])))])
      // On the processor only what is moved is half indeed.
      const turn = (x: Value): Value => change.add('Transpose', [x])
      const raised = turn(turn(times(times(scores, 3e4), 3e4)))
      const result = times(times(raised, 2 ** -14), 2 ** -14)
      change.hide(scores)
      change.setType(result, { dataType: 'float32', dims: ['batch', 3] })
      change.expose(result)
    })
    const said: string[] = []
    const log = { ...silentLog, warn: (code: string) => void said.push(code) }
    const single = await train(high, { ...options, updates: 20, precision: 'float32' })
    const open = await train(high, { ...options, updates: 20, precision: 'auto', log })
    expect(said).toEqual(['HALF_OVERFLOWS'])
    expect(open.curve).toEqual(single.curve)
    await expect(
      train(high, { ...options, updates: 20, precision: 'float16' }),
    ).rejects.toMatchObject({ code: 'LOSS_NOT_FINITE' })
  }, 60_000)

  it('holds sums that pass what half precision holds at its ends', async () => {
    const massive = classifier()
    edit(massive.graph, 'massive', (change) => {
      const add = (op: string, inputs: Value[]): Value => change.add(op, inputs)
      const numbers = (dims: number[], value: (at: number) => number): Value => {
        const count = dims.reduce((product, size) => product * size, 1)
        return change.constant(
          toConstant(
            tensorOf(
              'float32',
              dims,
              Array.from({ length: count }, (_, at) => value(at)),
            ),
          ),
        )
      }
      const scores = massive.graph.values.get('scores') as Value
      // What one score is moved by is as large as an activation can be that norms alone read.
      const far = add('MatMul', [scores, numbers([3, 3], (at) => (at === 0 ? 6e4 : 0))])
      const sum = add('Add', [scores, far])
      const half = add('Transpose', [add('Transpose', [sum])])
      const mean = change.add('ReduceMean', [add('Mul', [half, half])], {
        attributes: { axes: { kind: 'ints', value: [-1n] } },
      })
      const normed = add('Div', [half, add('Sqrt', [mean])])
      const result = change.add(
        'Add',
        [add('MatMul', [normed, numbers([3, 3], (at) => Number(at % 4 === 0) / 10)]), scores],
        { output: 'result' },
      )
      change.hide(scores)
      change.setType(result, { dataType: 'float32', dims: ['batch', 3] })
      change.expose(result)
    })
    const said: string[] = []
    const log = { ...silentLog, warn: (code: string) => void said.push(code) }
    const found = await train(massive, { ...options, precision: 'auto', log })
    expect(said).toEqual([])
    expect(found.best).toBeLessThan(found.before / 1.5)
  }, 60_000)

  it('trains a model in half precision, whose gradients would vanish without a scale', async () => {
    const half = classifier()
    edit(half.graph, 'half', (change) => {
      for (const value of [...half.graph.initializers()]) {
        const { constant } = value
        const numbers = constant ? numbersOf(fromConstant(constant) as RuntimeTensor) : []
        change.setConstant(
          value,
          toConstant(tensorOf('float16', constant?.dims ?? [], [...numbers])),
        )
      }
      const [x] = half.graph.inputs as [Value]
      const scores = half.graph.values.get('scores') as Value
      const cast = (value: Value, to: bigint): Value =>
        change.add('Cast', [value], {
          attributes: { to: { kind: 'int', value: to } },
          before: to === 10n ? [...half.graph.nodes()][0] : undefined,
        })
      const small = cast(x, 10n)
      change.replaceUses(x, small, ({ node }) => node !== small.producer)
      // As a loss that is a mean over very many tokens: gradients below what half precision holds.
      const shrunk = change.constant(toConstant(tensorOf('float16', [], [2 ** -10])))
      const lowered = change.add('Mul', [scores, shrunk])
      const raised = change.constant(toConstant(tensorOf('float32', [], [2 ** 10])))
      const result = change.add('Mul', [cast(lowered, 1n), raised], { output: 'result' })
      change.setType(scores, { dataType: 'float16', dims: ['batch', 3] })
      change.hide(scores)
      change.setType(result, { dataType: 'float32', dims: ['batch', 3] })
      change.expose(result)
    })
    const found = await train(half, options)
    expect(found.best).toBeLessThan(0.5)
    expect(found.weights.every(({ tensor }) => tensor.dataType === 'float16')).toBe(true)
  }, 60_000)

  it('ends early when held-out data gets no better', async () => {
    const found = await train(classifier(), { ...options, rate: 0, patience: 2 })
    expect(found.updates).toBe(40)
    expect(found.best).toBe(found.before)
  }, 60_000)

  it.each(['mse', 'cosine'] as const)(
    'learns from a teacher alone what it answers, by %s',
    async (distance) => {
      const batches = samples(192, 1).map(({ extras: _, ...rest }) => rest)
      const heldOut = samples(64, 2, 64).map(({ extras: _, ...rest }) => rest)
      const student = classifier()
      edit(student.graph, 'damage', (change) => {
        for (const value of [...student.graph.initializers()]) {
          const { dims } = value.constant as { dims: readonly number[] }
          const random = generator(dims.length)
          const count = dims.reduce((product, size) => product * size, 1)
          const numbers = Array.from({ length: count }, () => random() - 0.5)
          change.setConstant(value, toConstant(tensorOf('float32', dims, numbers)))
        }
      })
      const teacher = { model: classifier(), share: 1, temperature: 1, distance }
      const found = await train(student, { ...options, batches, heldOut, teacher })
      expect(found.best).toBeLessThan(found.before / 2)
    },
    60_000,
  )

  it('refuses a teacher of another opset', async () => {
    const model = classifier()
    model.opsets.set('', 18)
    const teacher = { model, share: 1, temperature: 1 }
    await expect(train(classifier(), { ...options, teacher })).rejects.toMatchObject({
      code: 'OPSET_MISMATCH',
    })
  })

  it('refuses data that says nothing about what is right', async () => {
    const batches = samples(32, 1).map(({ extras: _, ...rest }) => rest)
    await expect(train(classifier(), { ...options, batches })).rejects.toMatchObject({
      code: 'NO_OBJECTIVE',
    })
  })
})

describe('a sampler', () => {
  it('shows every sample once an epoch, in an order that the seed alone decides', () => {
    const batches = samples(24, 5, 8)
    const seen = (seed: number, epoch: number): number[] => {
      const draw = sampler(batches, 6, seed)
      return [0, 1, 2, 3].flatMap((index) => [
        ...numbersOf(draw(epoch * 4 + index).feeds['x'] as never).filter((_, at) => at % 6 === 0),
      ])
    }
    const all = seen(1, 0).toSorted()
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(5), (seed, epoch) => {
        expect(seen(seed, epoch).toSorted()).toEqual(all)
        expect(seen(seed, epoch)).toEqual(seen(seed, epoch))
      }),
      { numRuns: 20, seed: 1 },
    )
    expect(seen(1, 0)).not.toEqual(seen(1, 1))
  })

  it.each([1, 4, 24])('makes batches as large as asked for, of data in batches of %i', (size) => {
    expect(sampler(samples(24, 5, size), 6, 1)(0).feeds['x']?.dims).toEqual([6, 6])
  })
})

describe('the schedule of the rate', () => {
  it('rises over the warm-up, then never rises again and ends near zero', () => {
    fc.assert(
      fc.property(fc.integer({ min: 20, max: 200 }), fc.nat(10), (total, warmup) => {
        for (const schedule of ['linear', 'cosine'] as const) {
          const shares = Array.from({ length: total }, (_, i) =>
            shareOfRate(schedule, i, total, warmup),
          )
          const falling = shares.slice(warmup)
          expect(Math.max(...shares)).toBe(1)
          expect(falling).toEqual(falling.toSorted((a, b) => b - a))
          expect(falling.at(-1)).toBeLessThan(0.1)
        }
      }),
      { seed: 1 },
    )
  })
})
