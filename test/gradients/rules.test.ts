/**
 * Every gradient rule against central differences, in double precision where ONNX Runtime has the
 * operator in double, with sizes that are known and with sizes that show only while running.
 */
import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { addGradients } from '../../src/gradients/gradients.js'
import { gradientRuleNames } from '../../src/gradients/rules/index.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { Model, type Value } from '../../src/graph/graph.js'
import { type Attributes, toAttribute } from '../../src/node-builder/node-builder.js'
import { numbersOf, type RuntimeTensor, tensorOf, toConstant } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'

interface Case {
  readonly op: string
  readonly domain?: string
  /** Shapes of floating inputs, and integer or boolean constants as they are. */
  readonly inputs: readonly (readonly number[] | RuntimeTensor | undefined)[]
  readonly attributes?: Attributes
  /** Outputs that the loss reads; one by default. */
  readonly outputs?: readonly boolean[]
  /** Added to random numbers in (−1, 1): keeps away from kinks and poles. */
  readonly offset?: number
  readonly type?: 'float32' | 'float64'
  readonly opset?: number
  /** Input slots without a gradient. */
  readonly without?: readonly number[]
  /** The rule wants to know the sizes. */
  readonly isFixed?: boolean
}

const int = (dims: readonly number[], ...numbers: number[]): RuntimeTensor =>
  tensorOf('int64', dims, numbers)
const single = { type: 'float32' } as const

const unary = (ops: string, rest: Partial<Case> = {}): Case[] =>
  ops.split(' ').map((op) => ({ op, inputs: [[2, 3]], ...rest }))

/**
 * Texts of 3 positions, 2 samples of 2 numbers, 2 hidden units: one way, both ways with states and
 * lengths, backwards.
 */
function recurrences(op: string, gates: number, states: number, rest: Attributes = {}): Case[] {
  const attributes = { hidden_size: 2, ...rest }
  const weights = (ways: number) => [
    [ways, gates * 2, 2],
    [ways, gates * 2, 2],
    [ways, gates * 4],
  ]
  const [x, first] = [[3, 2, 2], Array<number[]>(states).fill([2, 2, 2])]
  const [all, last] = [
    [true, ...first.map(() => true)],
    [false, true],
  ]
  return [
    { op, inputs: [x, ...weights(1).slice(0, 2)], attributes, ...single },
    {
      op,
      inputs: [x, ...weights(2), tensorOf('int32', [2], [3, 2]), ...first],
      attributes: { ...attributes, direction: 'bidirectional' },
      outputs: all,
      ...single,
    },
    {
      op,
      inputs: [x, ...weights(1)],
      attributes: { ...attributes, direction: 'reverse' },
      outputs: last,
      ...single,
    },
  ]
}

const cases: readonly Case[] = [
  ...unary('Neg Abs Exp Sin Cos Tanh Sigmoid Identity Relu Sqrt Log Reciprocal', { offset: 1.6 }),
  ...unary('Softplus Softsign LeakyRelu Elu ThresholdedRelu HardSigmoid HardSwish Mish Erf Gelu', {
    ...single,
    offset: 0.3,
    opset: 20,
  }),
  { op: 'Gelu', inputs: [[2, 3]], attributes: { approximate: 'tanh' }, opset: 20, ...single },
  { op: 'Clip', inputs: [[2, 3], tensorOf('float64', [], [-0.5]), tensorOf('float64', [], [0.4])] },
  { op: 'Cast', inputs: [[2, 3]], attributes: { to: 1 }, ...single },
  { op: 'CastLike', inputs: [[2, 3], tensorOf('float32', [1], [0])], ...single },
  { op: 'Dropout', inputs: [[2, 3]], ...single },
  ...['Floor', 'Ceil', 'Round', 'Sign'].map((op) => ({ op, inputs: [[2, 3]], without: [0] })),
  { op: 'Gelu', domain: 'com.microsoft', inputs: [[2, 3]], ...single },
  { op: 'QuickGelu', domain: 'com.microsoft', inputs: [[2, 3]], ...single },
  { op: 'BiasGelu', domain: 'com.microsoft', inputs: [[2, 3], [3]], ...single },
  { op: 'FastGelu', domain: 'com.microsoft', inputs: [[2, 3], [3]], ...single },
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow'].flatMap((op) => [
    {
      op,
      inputs: [
        [2, 3],
        [2, 3],
      ],
      offset: 2,
    },
    {
      op,
      inputs: [
        [2, 1, 3],
        [4, 1],
      ],
      offset: 2,
    },
    { op, inputs: [[3], [2, 3]], offset: 2 },
  ]),
  { op: 'Pow', inputs: [[2, 3], tensorOf('float64', [], [2])] },
  { op: 'Pow', inputs: [[2, 3], tensorOf('float64', [], [3])] },
  ...['Max', 'Min', 'Sum', 'Mean'].map((op) => ({ op, inputs: [[2, 3], [3], [2, 1]], ...single })),
  { op: 'Where', inputs: [tensorOf('bool', [2, 1], [1, 0]), [2, 3], [3]], ...single },
  { op: 'PRelu', inputs: [[2, 3], [3]] },
  {
    op: 'MatMul',
    inputs: [
      [2, 3],
      [3, 4],
    ],
  },
  {
    op: 'MatMul',
    inputs: [
      [2, 5, 3],
      [3, 4],
    ],
  },
  {
    op: 'MatMul',
    inputs: [
      [2, 1, 2, 3],
      [5, 3, 2],
    ],
  },
  {
    op: 'MatMul',
    inputs: [
      [2, 3],
      [2, 3, 4],
    ],
  },
  { op: 'MatMul', inputs: [[3], [3]] },
  { op: 'MatMul', inputs: [[3], [2, 3, 4]] },
  { op: 'MatMul', inputs: [[2, 4, 3], [3]] },
  { op: 'Gemm', inputs: [[2, 3], [3, 4], [4]] },
  {
    op: 'Gemm',
    inputs: [
      [3, 2],
      [4, 3],
      [2, 1],
    ],
    attributes: {
      transA: 1,
      transB: 1,
      alpha: { kind: 'float', value: 0.5 },
      beta: { kind: 'float', value: 2 },
    },
  },
  {
    op: 'Einsum',
    inputs: [
      [2, 3],
      [3, 4],
    ],
    attributes: { equation: 'ij,jk->ik' },
  },
  {
    op: 'Einsum',
    inputs: [
      [2, 2, 3, 4],
      [2, 2, 5, 4],
    ],
    attributes: { equation: 'bhqd,bhkd->bhqk' },
  },
  {
    op: 'Einsum',
    inputs: [
      [2, 5, 3],
      [3, 4],
    ],
    attributes: { equation: '...d,de->...e' },
  },
  { op: 'Einsum', inputs: [[2, 3], [4]], attributes: { equation: 'ij,k->ik' } },
  {
    op: 'Conv',
    inputs: [[2, 3, 7], [4, 3, 3], [4]],
    attributes: { strides: [2], pads: [1, 1], dilations: [1] },
    ...single,
  },
  {
    op: 'Conv',
    inputs: [[2, 4, 6, 5], [6, 2, 3, 2], [6]],
    attributes: { strides: [2, 1], pads: [1, 0, 0, 1], group: 2 },
    ...single,
  },
  {
    op: 'Conv',
    inputs: [
      [2, 4, 9],
      [4, 1, 3],
    ],
    attributes: { group: 4, dilations: [2], pads: [2, 2] },
    ...single,
  },
  {
    op: 'AveragePool',
    inputs: [[2, 3, 7]],
    attributes: { kernel_shape: [3], strides: [2] },
    isFixed: true,
    ...single,
  },
  { op: 'GlobalAveragePool', inputs: [[2, 3, 4, 5]], ...single },
  {
    op: 'ConvTranspose',
    inputs: [[2, 3, 4], [3, 2, 3], [2]],
    attributes: { strides: [2], pads: [1, 0], output_padding: [1] },
    ...single,
  },
  {
    op: 'ConvTranspose',
    inputs: [
      [1, 4, 3, 2],
      [4, 1, 2, 3],
    ],
    attributes: { strides: [2, 1], group: 2, dilations: [1, 2] },
    ...single,
  },
  {
    op: 'MaxPool',
    inputs: [[2, 2, 5, 4]],
    attributes: { kernel_shape: [3, 2], strides: [2, 1], pads: [1, 0, 1, 1] },
  },
  {
    op: 'Col2Im',
    inputs: [[2, 8, 6], int([2], 3, 4), int([2], 2, 2)],
    attributes: { strides: [1, 1] },
    opset: 18,
    ...single,
  },
  {
    op: 'Resize',
    inputs: [[1, 2, 3, 4], undefined, undefined, int([4], 1, 2, 5, 7)],
    attributes: { mode: 'cubic', coordinate_transformation_mode: 'half_pixel' },
    ...single,
  },
  {
    op: 'Resize',
    inputs: [[1, 2, 3, 4], undefined, tensorOf('float32', [4], [1, 1, 2, 1.5])],
    attributes: { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
    ...single,
  },
  {
    op: 'Resize',
    inputs: [[1, 1, 3, 3], undefined, undefined, int([4], 1, 1, 2, 6)],
    attributes: {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
    },
    ...single,
  },
  { op: 'DFT', inputs: [[2, 5, 1]], attributes: { axis: 1 } },
  { op: 'DFT', inputs: [[2, 5, 3, 2]], attributes: { axis: 2, inverse: 1 } },
  { op: 'Reshape', inputs: [[2, 6], int([3], 0, -1, 2)] },
  { op: 'Flatten', inputs: [[2, 3, 2]] },
  { op: 'Squeeze', inputs: [[2, 1, 3], int([1], 1)] },
  { op: 'Unsqueeze', inputs: [[2, 3], int([2], 0, 3)] },
  { op: 'Transpose', inputs: [[2, 3, 4]], attributes: { perm: [2, 0, 1] } },
  { op: 'Transpose', inputs: [[2, 3]] },
  { op: 'Expand', inputs: [[3, 1], int([3], 2, 1, 4)] },
  { op: 'Tile', inputs: [[2, 3], int([2], 2, 3)] },
  {
    op: 'Concat',
    inputs: [
      [2, 3],
      [2, 1],
      [2, 4],
    ],
    attributes: { axis: -1 },
  },
  {
    op: 'Split',
    inputs: [[2, 5], int([3], 2, 1, 2)],
    attributes: { axis: 1 },
    outputs: [true, false, true],
  },
  { op: 'Slice', inputs: [[4, 5], int([2], 1, -4), int([2], 3, 99), int([2], 0, 1)] },
  { op: 'Slice', inputs: [[2, 7], int([1], 0), int([1], 99), int([1], -1), int([1], 2)] },
  { op: 'Slice', inputs: [[5, 3], int([1], -1), int([1], -99), int([1], 0), int([1], -1)] },
  { op: 'Pad', inputs: [[2, 3], int([4], 1, 0, 0, 2)] },
  { op: 'Pad', inputs: [[3, 4], int([4], 1, -2, -1, 1)] },
  { op: 'Pad', inputs: [[2, 3], int([2], 2, 1), undefined, int([1], 1)], opset: 18 },
  ...['reflect', 'edge', 'wrap'].map((mode) => ({
    op: 'Pad',
    inputs: [[3, 4], int([4], 1, 2, 2, 0)] as Case['inputs'],
    attributes: { mode },
    opset: 19,
  })),
  { op: 'Trilu', inputs: [[3, 3]], attributes: { upper: 0 } },
  { op: 'DepthToSpace', inputs: [[1, 8, 2, 3]], attributes: { blocksize: 2 } },
  { op: 'DepthToSpace', inputs: [[1, 8, 2, 3]], attributes: { blocksize: 2, mode: 'CRD' } },
  { op: 'SpaceToDepth', inputs: [[1, 2, 4, 6]], attributes: { blocksize: 2 } },
  { op: 'Softmax', inputs: [[2, 3, 4]], attributes: { axis: 1 } },
  { op: 'Softmax', inputs: [[2, 5]] },
  { op: 'LogSoftmax', inputs: [[2, 5]] },
  { op: 'LayerNormalization', inputs: [[2, 3, 4], [4], [4]] },
  {
    op: 'LayerNormalization',
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
    attributes: { axis: 1 },
    opset: 18,
  },
  { op: 'RMSNormalization', inputs: [[2, 3, 4], [4]], opset: 23, ...single },
  { op: 'SimplifiedLayerNormalization', inputs: [[2, 3, 4], [4]], ...single },
  {
    op: 'SkipLayerNormalization',
    domain: 'com.microsoft',
    inputs: [[2, 3, 4], [2, 3, 4], [4], [4], [4]],
    outputs: [true, false, false, true],
    ...single,
  },
  {
    op: 'SkipSimplifiedLayerNormalization',
    domain: 'com.microsoft',
    inputs: [[2, 3, 4], [2, 3, 4], [4], [4]],
    ...single,
  },
  {
    op: 'BatchNormalization',
    inputs: [
      [2, 3, 4],
      [3],
      [3],
      tensorOf('float32', [3], [0.1, 0.2, 0.3]),
      tensorOf('float32', [3], [1, 2, 0.5]),
    ],
    ...single,
  },
  { op: 'InstanceNormalization', inputs: [[2, 3, 4], [3], [3]], ...single },
  { op: 'ReduceSum', inputs: [[2, 3, 4], int([2], 0, -1)], attributes: { keepdims: 0 } },
  { op: 'ReduceSum', inputs: [[2, 3]] },
  { op: 'ReduceMean', inputs: [[2, 3, 4]], attributes: { axes: [1], keepdims: 0 } },
  { op: 'ReduceMean', inputs: [[2, 3, 4], int([1], -1)], opset: 18 },
  { op: 'ReduceMax', inputs: [[2, 3, 4]], attributes: { axes: [1], keepdims: 0 } },
  { op: 'ReduceMin', inputs: [[2, 3, 4], int([1], -1)], opset: 18 },
  ...[
    'ReduceL1',
    'ReduceL2',
    'ReduceSumSquare',
    'ReduceLogSum',
    'ReduceLogSumExp',
    'ReduceProd',
  ].map((op) => ({ op, inputs: [[2, 3, 4]], attributes: { axes: [1] }, offset: 1.6, ...single })),
  { op: 'CumSum', inputs: [[2, 4], int([], 1)], attributes: { exclusive: 1 } },
  { op: 'Gather', inputs: [[5, 3], int([2, 2], 0, 3, 3, -1)] },
  { op: 'Gather', inputs: [[2, 5, 3], int([2, 2], 0, 3, 3, 1)], attributes: { axis: 1 } },
  { op: 'Gather', inputs: [[2, 5], int([], 3)], attributes: { axis: -1 } },
  {
    op: 'GatherElements',
    inputs: [[2, 4], int([2, 3], 0, 0, 3, 1, 2, 2)],
    attributes: { axis: 1 },
  },
  { op: 'GatherND', inputs: [[3, 4], int([3, 1], 0, 2, 2)] },
  {
    op: 'ScatterElements',
    inputs: [[2, 4], int([2, 2], 0, 3, 1, 2), [2, 2]],
    attributes: { axis: 1 },
  },
  { op: 'ScatterND', inputs: [[4, 3], int([2, 1], 0, 2), [2, 3]] },
  {
    op: 'ScatterND',
    inputs: [[4, 3], int([2, 1], 2, 2), [2, 3]],
    attributes: { reduction: 'add' },
  },
  ...recurrences('RNN', 1, 1),
  ...recurrences('GRU', 3, 1),
  ...recurrences('GRU', 3, 1, { linear_before_reset: 1 }),
  ...recurrences('LSTM', 4, 2),
  { op: 'TopK', inputs: [[2, 6], int([1], 3)], outputs: [true, false] },
]

interface Outcome {
  readonly missing: readonly string[]
  /** Largest difference of an element, relative to 1 or to itself where it is larger. */
  readonly worst: number
  readonly shapes: readonly (readonly [readonly number[], readonly number[]])[]
}

/** All cases of one opset are one graph: a loss each, perturbed at the same time. */
const groups = new Map<string, Promise<Map<Case, Outcome>>>()

function outcomesOf(opset: number, isOpen: boolean): Promise<Map<Case, Outcome>> {
  const key = `${opset}/${isOpen}`
  const known = groups.get(key)
  if (known) return known
  const own = cases.filter((each) => (each.opset ?? 17) === opset && !(isOpen && each.isFixed))
  const found = compare(own, opset, isOpen)
  groups.set(key, found)
  return found
}

describe('gradient rules equal central differences', () => {
  for (const [index, each] of cases.entries())
    for (const isOpen of each.isFixed ? [false] : [false, true])
      it(`${nameOf(each)} #${index}${isOpen ? ', sizes open' : ''}`, async () => {
        const outcome = (await outcomesOf(each.opset ?? 17, isOpen)).get(each) as Outcome
        expect(outcome.missing).toEqual((each.without ?? []).map(String))
        for (const [gradient, input] of outcome.shapes) expect(gradient).toEqual(input)
        expect(outcome.worst).toBeLessThan(each.type === 'float32' ? 6e-3 : 1e-6)
      }, 180_000)

  it('has a case for every rule', () => {
    const untested = gradientRuleNames.filter(
      (name) => !cases.some((each) => nameOf(each) === name),
    )
    // Names of the same rules in older or newer opsets.
    expect(untested).toEqual(['Scatter', 'Swish', 'com.microsoft.SimplifiedLayerNormalization'])
  })
})

const nameOf = ({ op, domain }: Case): string => (domain ? `${domain}.${op}` : op)

interface Wanted {
  readonly input: Value
  readonly dims: readonly number[]
  readonly slot: number
  readonly gradient: Value | undefined
}

interface Part {
  readonly each: Case
  readonly loss: Value
  readonly wanted: readonly Wanted[]
}

type Tensors = Readonly<Record<string, RuntimeTensor>>

/** Analytic and numeric gradients of Σ sin(1.3·y) over every floating input. */
async function compare(
  own: readonly Case[],
  opset: number,
  isOpen: boolean,
): Promise<Map<Case, Outcome>> {
  const { model, parts } = build(own, opset, isOpen)
  const feeds = randomFeeds(parts, opset)
  const file = materialise(model)
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    const results = await session.run(feeds)
    const losses = parts.map(({ loss }) => loss.name)
    const lossesAt = async (round: number, sign: number): Promise<number[]> => {
      const found = await session.run(shift(feeds, parts, round, sign), losses)
      return losses.map((name) => numberAt(found, name, 0))
    }
    const worst = parts.map(() => 0)
    for (let round = 0; parts.some((part) => elementAt(part, round)); round++) {
      const [above, below] = [await lossesAt(round, 1), await lossesAt(round, -1)]
      for (const [index, part] of parts.entries()) {
        const element = elementAt(part, round)
        if (!element?.wanted.gradient) continue
        const rise = (above[index] as number) - (below[index] as number)
        const numeric = rise / (2 * stepOf(part.each))
        const analytic = numberAt(results, element.wanted.gradient.name, element.at)
        const difference = Math.abs(numeric - analytic) / Math.max(1, Math.abs(numeric))
        worst[index] = Math.max(worst[index] as number, difference)
      }
    }
    return new Map(
      parts.map((part, index) => [part.each, outcomeOf(part, results, worst[index] as number)]),
    )
  } finally {
    file.dispose()
  }
}

const numberAt = (tensors: Tensors, name: string, at: number): number =>
  numbersOf(tensors[name] as RuntimeTensor)[at] as number

const stepOf = ({ type }: Case): number => (type === 'float32' ? 1e-2 : 1e-5)

function randomFeeds(parts: readonly Part[], seed: number): Tensors {
  const random = generator(seed)
  const feeds: Record<string, RuntimeTensor> = {}
  for (const { each, wanted } of parts)
    for (const { input, dims } of wanted) {
      const next = (): number => random() * 2 - 1 + (each.offset ?? 0)
      const numbers = Array.from({ length: elementCount(dims) }, next)
      feeds[input.name] = tensorOf(each.type ?? 'float64', dims, numbers)
    }
  return feeds
}

/** Element number `round` of a case, its inputs counted through. */
function elementAt({ wanted }: Part, round: number): { wanted: Wanted; at: number } | undefined {
  let at = round
  for (const each of wanted) {
    const count = elementCount(each.dims)
    if (at < count) return { wanted: each, at }
    at -= count
  }
  return undefined
}

/** Feeds with one element of each case moved by its step. */
function shift(feeds: Tensors, parts: readonly Part[], round: number, sign: number): Tensors {
  const moved = { ...feeds }
  for (const part of parts) {
    const element = elementAt(part, round)
    if (!element) continue
    const { name } = element.wanted.input
    const { dataType, dims, data } = feeds[name] as RuntimeTensor
    const numbers = Float64Array.from(data as Float64Array)
    numbers[element.at] = (numbers[element.at] as number) + sign * stepOf(part.each)
    moved[name] = tensorOf(dataType, dims, numbers)
  }
  return moved
}

function outcomeOf({ wanted }: Part, results: Tensors, worst: number): Outcome {
  return {
    worst,
    missing: wanted.filter(({ gradient }) => !gradient).map(({ slot }) => String(slot)),
    shapes: wanted.flatMap(({ dims, gradient }) =>
      gradient ? [[(results[gradient.name] as RuntimeTensor).dims, dims] as const] : [],
    ),
  }
}

function build(own: readonly Case[], opset: number, isOpen: boolean) {
  const model = new Model()
  model.irVersion = 8
  model.opsets.set('', opset)
  model.opsets.set('com.microsoft', 1)
  const parts = own.map((each, index) =>
    edit(model.graph, `case${index}`, (change) => buildCase(change, each, index, isOpen)),
  )
  return { model, parts }
}

function buildCase(change: GraphEdit, each: Case, index: number, isOpen: boolean): Part {
  const type = each.type ?? 'float64'
  const floating: { input: Value; slot: number; dims: readonly number[] }[] = []
  const inputs = each.inputs.map((given, slot) => {
    if (!given) return undefined
    if ('data' in given) return change.constant(toConstant(given))
    const dims = given.map((size, axis) => (isOpen && size > 1 ? `${index}.${slot}.${axis}` : size))
    const input = change.addInput(`case${index}.x${slot}`, type, dims)
    floating.push({ input, slot, dims: given })
    return input
  })
  const outputs = each.outputs ?? [true]
  const attributes = Object.entries(each.attributes ?? {})
  const node = change.addNode({
    op: each.op,
    domain: each.domain ?? '',
    inputs,
    outputs: outputs.map((_, output) => `case${index}.y${output}`),
    attributes: Object.fromEntries(attributes.map(([name, value]) => [name, toAttribute(value)])),
  })
  const terms = node.outputs
    .filter((_, output) => outputs[output])
    .map((y) => {
      const factor = change.constant(toConstant(tensorOf(type, [], [1.3])))
      const wave = change.add('Sin', [change.add('Mul', [y, factor])])
      return change.add('ReduceSum', [wave], { attributes: { keepdims: toAttribute(0) } })
    })
  const loss = terms.length === 1 ? (terms[0] as Value) : change.add('Sum', terms)
  const inputsOnly = floating.map(({ input }) => input)
  const gradients = addGradients(change, loss, inputsOnly)
  change.expose(loss)
  const wanted = floating.map((one) => ({ ...one, gradient: gradients.get(one.input) }))
  for (const { gradient } of wanted) if (gradient) change.expose(gradient)
  return { each, loss, wanted }
}

describe('addGradients', () => {
  it('refuses a loss that is not one number', () => {
    const model = new Model()
    model.opsets.set('', 17)
    expect(() =>
      edit(model.graph, 'test', (change) => {
        const x = change.addInput('x', 'float32', [2, 3])
        addGradients(change, change.add('Exp', [x]), [x])
      }),
    ).toThrow(expect.objectContaining({ code: 'LOSS_NOT_SCALAR' }))
  })

  it('names an operator without a rule, and the path to it', () => {
    const model = new Model()
    model.opsets.set('', 17)
    expect(() =>
      edit(model.graph, 'test', (change) => {
        const x = change.addInput('x', 'float32', [2, 3])
        const y = change.add('Mod', [change.add('Exp', [x]), x])
        addGradients(change, change.add('ReduceSum', [y]), [x])
      }),
    ).toThrow(/Mod.*between "x" and the loss: x → test\/Exp → test\/Mod/)
    expect(model.graph.nodesById.size).toBe(0)
  })
})
