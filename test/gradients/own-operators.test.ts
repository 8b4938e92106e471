/** Gradients of attnc's own operators against central differences of their specifications in double precision. */
import { expect, test } from 'vitest'
import { addGradients, type GradientOptions } from '../../src/gradients/gradients.js'
import { edit } from '../../src/graph/edit.js'
import type { Value } from '../../src/graph/graph.js'
import { isFloating } from '../../src/onnx/data-type.js'
import { numbersOf, type RuntimeTensor, tensorOf, toConstant } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import { attentionCases, gatherNode, numbers, sparseNode } from '../kernels/cases.js'
import { type OneNode, oneNode, runReference } from '../kernels/one-node.js'
import { streamCases, streamSteps } from '../kernels/stream-cases.js'

const isSingle = ({ dataType }: { readonly dataType?: string }): boolean => !dataType

test.each(attentionCases.filter(isSingle))('BlockSparseAttention: $title', async (each) =>
  expectGradients(sparseNode(each)),
)

test.each(attentionCases.filter(isSingle))('GatherBlockAttention: $title', async (each) =>
  expectGradients(gatherNode(each)),
)

test.each(attentionCases.filter(isSingle))(
  'BlockSparseAttention, its backward pass by an operator: $title',
  async (each) => expectGradients(sparseNode(each), 1, { hasKernel: () => true }),
)

test.each(attentionCases.filter(({ title }) => /window and sinks|soft cap/.test(title)))(
  'log-sum-exp has a gradient of its own: $title',
  async (each) => expectGradients({ ...sparseNode(each), outputs: 2 }, 2),
)

test.each(streamCases.filter(isSingle))('StreamAttention: $title', async (each) => {
  for (const { node } of [...streamSteps(each)].slice(0, 2))
    await expectGradients({ ...node, isLoose: false })
})

const STEP = 2e-3

const isLearned = (tensor: RuntimeTensor | undefined): tensor is RuntimeTensor =>
  tensor !== undefined && isFloating(tensor.dataType) && tensor.data.length > 0

/** Along a direction of each input, the loss Σ w·output of the first outputs changes as its gradient says. */
async function expectGradients<Attributes>(
  node: OneNode<Attributes>,
  count = 1,
  options: GradientOptions = {},
): Promise<void> {
  const sizes = runReference(node).slice(0, count)
  const weights = sizes.map(({ dims }, index) => numbers(elementCount(dims), 11 + index))
  const found = await gradientsOf(node, weights, options)
  const lossAt = (inputs: OneNode<Attributes>['inputs']): number =>
    runReference({ ...node, inputs })
      .slice(0, count)
      .reduce((sum, output, index) => sum + dot(numbersOf(output), weights[index] ?? []), 0)
  let checked = 0
  for (const [index, input] of node.inputs.entries()) {
    const gradient = found.get(node.kernel.inputs[index]?.name ?? '')
    if (!isLearned(input) || !gradient) continue
    const direction = numbers(input.data.length, 31 + index)
    const along = (step: number): number =>
      lossAt(
        node.inputs.map((each, at) => {
          const isFree = node.kernel.inputs[at]?.type === undefined
          const wide =
            isLearned(each) && isFree ? tensorOf('float64', each.dims, numbersOf(each)) : each
          if (at !== index || !wide) return wide
          const moved = numbersOf(wide).map((x, i) => x + step * (direction[i] as number))
          return tensorOf(wide.dataType, wide.dims, moved)
        }),
      )
    // Some of what the specifications read and write is in single precision.
    const numeric = (along(STEP) - along(-STEP)) / (2 * STEP)
    const analytic = dot(gradient, direction)
    const scale = Math.hypot(...gradient) * Math.hypot(...direction)
    expect(Math.abs(numeric - analytic)).toBeLessThan(2e-4 * (scale + 1e-3))
    checked++
  }
  expect(checked).toBeGreaterThan(2)
}

const dot = (one: ArrayLike<number>, other: ArrayLike<number>): number =>
  Array.from(one).reduce(
    (sum, each, i) => sum + (each === -Infinity ? 0 : each * (other[i] ?? 0)),
    0,
  )

/** By the name of the input. */
async function gradientsOf<Attributes>(
  node: OneNode<Attributes>,
  weights: readonly Float64Array[],
  options: GradientOptions,
): Promise<Map<string, Float32Array | Float64Array>> {
  const { model, feeds } = oneNode(node)
  const names = edit(model.graph, 'test', (change) => {
    const outputs = model.graph.outputs.slice(0, weights.length)
    const terms = outputs.map((output, index) => {
      const dims = output.type?.dims as number[]
      const factor = change.constant(
        toConstant(tensorOf('float32', dims, weights[index] as Float64Array)),
      )
      // What sees nothing has a log-sum-exp of −∞, which no loss is made of.
      const isSeen = change.add('Greater', [
        output,
        change.constant(toConstant(tensorOf('float32', [], [-1e30]))),
      ])
      const none = change.constant(toConstant(tensorOf('float32', [], [0])))
      const seen = index === 0 ? output : change.add('Where', [isSeen, output, none])
      return change.add('ReduceSum', [change.add('Mul', [seen, factor])], {
        attributes: { keepdims: { kind: 'int', value: 0n } },
      })
    })
    const loss = change.add('Sum', terms)
    const wanted = model.graph.inputs.filter(
      ({ name }) => isLearned(feeds[name]) && (!options.hasKernel || name !== 'bias'),
    )
    const gradients = addGradients(change, loss, wanted, options)
    for (const output of [...model.graph.outputs]) change.hide(output)
    for (const value of gradients.values()) change.expose(value)
    return [...gradients].map(([{ name }, value]: [Value, Value]) => [name, value.name] as const)
  })
  const file = materialise(model)
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    const known = new Set(session.inputs.map(({ name }) => name))
    const results = await session.run(
      Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name))),
    )
    return new Map(names.map(([input, name]) => [input, numbersOf(results[name] as RuntimeTensor)]))
  } finally {
    file.dispose()
  }
}
