/** One training step of a model of the zoo, for comparisons of ways to do it. */
import { join } from 'node:path'
import { generator } from '../../src/data/generator.js'
import { portsOf } from '../../src/data/open-data.js'
import { readTestDataSet } from '../../src/data/test-data-set.js'
import { loadModel } from '../../src/model-folder/load.js'
import { isFloating } from '../../src/onnx/data-type.js'
import { numbersOf, type RuntimeTensor, tensorOf, zeros } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { feedsOf } from '../../src/train/feeds.js'
import type { Objective } from '../../src/train/loss/objective.js'
import { SCALE, scaleTensor } from '../../src/train/loss-scale.js'
import { sgd } from '../../src/train/optimizer.js'
import {
  buildTrainingGraph,
  COUNT,
  type Precision,
  RATE,
  type StepOptions,
} from '../../src/train/training-graph.js'
import { vector } from '../../src/train/training-run.js'
import { PARAMETERS } from '../../src/train/weights/insert.js'
import { findTrainable, initialParameters, type Method } from '../../src/train/weights/trainable.js'
import { sharedModel } from '../shared-models.js'

export const zoo = sharedModel('zoo')

export interface Stepped {
  readonly loss: number
  readonly gradient: ArrayLike<number>
  /** Products that are computed in half precision. */
  readonly halves: number
  /** Blocks of attention whose backward pass is an operator. */
  readonly fused: number
  /** Row programs. */
  readonly rows: number
}

export interface StepWay extends Pick<StepOptions, 'hasKernel' | 'fusesRowsFrom'> {
  readonly precision?: Precision
  readonly isTwice?: boolean
}

/** One step of a student that differs from its teacher, the model itself, by noise. */
export async function step(
  name: string,
  method: Method,
  { precision = 'float32', isTwice = false, hasKernel, fusesRowsFrom }: StepWay = {},
): Promise<Stepped> {
  const folder = join(zoo ?? '', name)
  const { model } = loadModel(folder)
  const [batch] = readTestDataSet(join(folder, 'test_data_set_0'), portsOf(model))
  const [output] = model.graph.outputs.filter(({ type }) => isFloating(type?.dataType ?? 'bool'))
  const objective: Objective = { kind: 'teacher', output: output?.name ?? '', counts: 'numbers' }
  const trainable = findTrainable(model.graph, method)
  const built = buildTrainingGraph(model, {
    objective,
    trainable,
    precision,
    hasKernel,
    fusesRowsFrom,
    teacher: { model: loadModel(folder).model, share: 1, temperature: 1 },
    optimizer: sgd({ momentum: 0 }),
    clip: 1e9,
    accumulate: 1,
    feeds: batch?.feeds,
    recompute: isTwice ? { share: 1, sizes: new Map() } : undefined,
    isScaled: precision === 'float16',
  })
  const shapes = inferShapes(built.model.graph)
  const random = generator(3)
  const parameters = initialParameters(trainable, 1).map((each) => each + 0.02 * (random() - 0.5))
  const file = materialise(built.model)
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    const states = built.states.map((state) => [state, zeros('float32', [trainable.size])])
    const results = await session.run(
      feedsOf(session, {
        ...batch?.feeds,
        [SCALE]: scaleTensor(2 ** 10),
        ...Object.fromEntries(states),
        [PARAMETERS]: vector(parameters),
        [RATE]: tensorOf('float32', [], [1e-3]),
        [COUNT]: tensorOf('float32', [], [1]),
      }),
    )
    const momentum = Object.entries(built.carry).find(([, input]) => input === built.states[0])
    return {
      loss: numbersOf(results[built.loss] as RuntimeTensor)[0] as number,
      gradient: numbersOf(results[momentum?.[0] ?? ''] as RuntimeTensor),
      halves: [...built.model.graph.nodes()].filter(
        ({ op, outputs: [y] }) => op === 'MatMul' && y && shapes.dataType(y) === 'float16',
      ).length,
      fused: [...built.model.graph.nodes()].filter(({ op }) => op.endsWith('AttentionGradient'))
        .length,
      rows: [...built.model.graph.nodes()].filter(({ op }) => op === 'RowProgram').length,
    }
  } finally {
    file.dispose()
  }
}

export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number =>
    Array.from(x).reduce((sum, each, at) => sum + each * (y[at] as number), 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}
