/** Losses and optimisers as graphs, beside the same written in TypeScript: one session for all. */
import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { Model, type Value } from '../../src/graph/graph.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { numbersOf, type RuntimeTensor, tensorOf, toConstant } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { addLogitLoss } from '../../src/train/loss/logit-loss.js'
import {
  binaryCrossEntropy,
  cosineDistance,
  crossEntropy,
  distillation,
  meanSquaredError,
} from '../../src/train/loss/loss.js'
import { adamW, clipNorm, sgd } from '../../src/train/optimizer.js'

const ROWS = 4
const CLASSES = 5
const random = generator(11)
const draw = (count: number): number[] => Array.from({ length: count }, () => random() * 2 - 1)
const x = draw(ROWS * CLASSES)
const y = draw(ROWS * CLASSES)
const marks = draw(ROWS * CLASSES).map((each) => Number(each > 0))
const targets = [3, 0, 4, 1]
const weights = [1, 0, 0.5, 1]

const row = (numbers: readonly number[], at: number): number[] =>
  numbers.slice(at * CLASSES, (at + 1) * CLASSES)
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)
const dot = (a: readonly number[], b: readonly number[]): number =>
  sum(a.map((each, at) => each * (b[at] as number)))
const logSoftmax = (numbers: readonly number[]): number[] => {
  const total = Math.log(sum(numbers.map(Math.exp)))
  return numbers.map((each) => each - total)
}
const meanOver = (rows: readonly number[]): number => dot(rows, weights) / sum(weights)
const perRow = (make: (at: number) => number): number => meanOver(targets.map((_, at) => make(at)))

interface Inputs {
  readonly x: Value
  readonly y: Value
  readonly marks: Value
  readonly targets: Value
  readonly weights: Value
  readonly scalar: (value: number) => Value
}

const cases: {
  readonly name: string
  readonly build: (b: NodeBuilder, inputs: Inputs) => Value
  readonly expected: () => readonly number[]
}[] = [
  {
    name: 'cross-entropy',
    build: (b, i) => crossEntropy(b, i.x, i.targets, i.weights),
    expected: () => [perRow((at) => -(logSoftmax(row(x, at))[targets[at] as number] as number))],
  },
  {
    name: 'binary cross-entropy',
    build: (b, i) => binaryCrossEntropy(b, i.x, i.marks),
    expected: () => [
      sum(x.map((each, at) => Math.log(1 + Math.exp(each)) - each * (marks[at] as number))) /
        x.length,
    ],
  },
  {
    name: 'mean squared error',
    build: (b, i) => meanSquaredError(b, i.x, i.y, i.weights),
    expected: () => [
      perRow(
        (at) => sum(row(x, at).map((each, c) => (each - (row(y, at)[c] ?? 0)) ** 2)) / CLASSES,
      ),
    ],
  },
  {
    name: 'distillation at temperature 2',
    build: (b, i) => distillation(b, i.x, i.y, 2, i.weights),
    expected: () => [
      4 *
        perRow((at) => {
          const half = (numbers: readonly number[]) => logSoftmax(numbers.map((each) => each / 2))
          const [own, wanted] = [half(row(x, at)), half(row(y, at))]
          return sum(wanted.map((each, c) => Math.exp(each) * (each - (own[c] as number))))
        }),
    ],
  },
  ...[
    { name: 'the task alone', task: 1, teacher: 0 },
    { name: 'the teacher alone', task: 0, teacher: 0.7 },
    { name: 'both', task: 0.4, teacher: 0.6 },
  ].flatMap(({ name, task, teacher }) => {
    const add = (b: NodeBuilder, i: Inputs) =>
      addLogitLoss(b, {
        logits: i.x,
        targets: i.targets,
        weights: i.weights,
        taskShare: task,
        teacher: teacher > 0 ? [i.y, teacher] : undefined,
        scale: i.scalar(8),
      })
    return [
      {
        name: `logits by ${name}: the loss`,
        build: (b: NodeBuilder, i: Inputs) => add(b, i).loss,
        expected: () => [
          perRow((at) => {
            const [own, wanted] = [logSoftmax(row(x, at)), logSoftmax(row(y, at))]
            const apart = sum(wanted.map((each, c) => Math.exp(each) * (each - (own[c] as number))))
            return teacher * apart - task * (own[targets[at] as number] as number)
          }),
        ],
      },
      {
        name: `logits by ${name}: the gradient, eight times`,
        build: (b: NodeBuilder, i: Inputs) => add(b, i).known.gradient,
        expected: () =>
          targets.flatMap((target, at) => {
            const wanted = logSoftmax(row(y, at)).map(Math.exp)
            return logSoftmax(row(x, at)).map((each, c) => {
              const own = Math.exp(each)
              const wrong =
                task * (own - Number(c === target)) + teacher * (own - (wanted[c] as number))
              return (8 * wrong * (weights[at] as number)) / sum(weights)
            })
          }),
      },
    ]
  }),
  {
    name: 'cosine distance',
    build: (b, i) => cosineDistance(b, i.x, i.y, i.weights),
    expected: () => [
      perRow((at) => {
        const [p, q] = [row(x, at), row(y, at)]
        return 1 - dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q))
      }),
    ],
  },
  {
    name: 'AdamW with decay, third update',
    build: (b, i) => {
      const states = [i.y, b.op('Mul', [i.y, i.y])]
      const update = {
        parameters: i.x,
        gradient: i.y,
        states,
        rate: i.scalar(0.1),
        count: i.scalar(3),
      }
      return adamW({ decay: 0.2 }).update(b, update)[0]
    },
    expected: () =>
      x.map((p, at) => {
        // Momentum and variance of a gradient that stays are g and g².
        const g = y[at] as number
        const deviation = Math.sqrt(g ** 2 / (1 - 0.999 ** 3)) + 1e-8
        return p * (1 - 0.1 * 0.2) - (0.1 * (g / (1 - 0.9 ** 3))) / deviation
      }),
  },
  {
    name: 'SGD with momentum and decay',
    build: (b, i) => {
      const update = {
        parameters: i.x,
        gradient: i.y,
        states: [i.marks],
        rate: i.scalar(0.1),
        count: i.scalar(1),
      }
      return sgd({ momentum: 0.5, decay: 0.1 }).update(b, update)[0]
    },
    expected: () =>
      x.map((p, at) => p * 0.99 - 0.1 * (0.5 * (marks[at] as number) + (y[at] as number))),
  },
  {
    name: 'a long gradient cut to length',
    build: (b, i) => clipNorm(b, i.x, 0.5)[0],
    expected: () => x.map((each) => (each * 0.5) / Math.sqrt(dot(x, x))),
  },
  {
    name: 'a short gradient left alone',
    build: (b, i) => clipNorm(b, i.x, 100)[0],
    expected: () => x,
  },
]

function build(change: GraphEdit): string[] {
  const matrix = (name: string): Value => change.addInput(name, 'float32', [ROWS, CLASSES])
  const inputs: Inputs = {
    x: matrix('x'),
    y: matrix('y'),
    marks: matrix('marks'),
    targets: change.addInput('targets', 'int64', [ROWS]),
    weights: change.addInput('weights', 'float32', [ROWS]),
    scalar: (value) => change.constant(toConstant(tensorOf('float32', [], [value]))),
  }
  const b = new NodeBuilder(change, inferShapes(change.graph))
  return cases.map((each) => {
    const output = each.build(b, inputs)
    change.expose(output)
    return output.name
  })
}

async function runAll(): Promise<RuntimeTensor[]> {
  const model = new Model()
  model.irVersion = 8
  model.opsets.set('', 17)
  const names = edit(model.graph, 'test', build)
  const file = materialise(model)
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    const matrix = (numbers: readonly number[]) => tensorOf('float32', [ROWS, CLASSES], numbers)
    const results = await session.run({
      x: matrix(x),
      y: matrix(y),
      marks: matrix(marks),
      targets: tensorOf('int64', [ROWS], targets),
      weights: tensorOf('float32', [ROWS], weights),
    })
    return names.map((name) => results[name] as RuntimeTensor)
  } finally {
    file.dispose()
  }
}

describe('pieces of a training graph equal their formulas', async () => {
  const found = await runAll()
  it.each(cases.map((each, index) => ({ ...each, index })))('$name', ({ expected, index }) => {
    const numbers = numbersOf(found[index] as RuntimeTensor)
    const wanted = expected()
    expect(numbers).toHaveLength(wanted.length)
    for (const [at, each] of wanted.entries()) expect(numbers[at]).toBeCloseTo(each, 5)
  })
})
