/**
 * The proof that a rewrite did what its plan says: the sliced model against the dense model whose
 * members are masked and whose projections are the same, on the same inputs.
 */
import type { Batch } from '../data/batch.js'
import { type Continuation, findContinuation } from '../data/continued.js'
import { AttncError } from '../errors.js'
import { intAttribute, type Model, type Node, type Value } from '../graph/graph.js'
import { isMover, upstream } from '../model/trace.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import { type RunOptions, runBatches } from '../runtime/batches.js'

/** How far outputs of the sliced model are from those of the masked one. */
export interface NumericCheck {
  /** Whether a branch with a cache was run too, on what the other one left. */
  readonly hasBranches?: boolean
  /** Largest difference of any output, relative to that output's largest number. */
  readonly largest: number
  readonly bound: number
}

/**
 * A slice changes the order of sums only; half precision and quantised sums round more. Where activations are
 * rounded to 8 bits too, a last bit is enough for another step of 1/127, layer after layer.
 */
export function sliceBound({ graph }: Model): number {
  if ([...graph.nodes()].some(roundsActivations)) return 5e-2
  const isExact = ({ constant }: Value): boolean =>
    !constant || ['float32', 'float64', 'int64', 'bool'].includes(constant.dataType)
  return [...graph.values.values()].every(isExact) ? 1e-3 : 2e-2
}

const roundsActivations = (node: Node): boolean =>
  /^(Dynamic)?Quantize|^Q(Linear|Gemm|Attention)/.test(node.op) ||
  (node.op === 'MatMulNBits' && intAttribute(node, 'accuracy_level', 0) === 4)

/** Half precision computes with 11 bits, layer after layer. */
export const halfBound = 5e-2

/**
 * Runs on the CPU whatever the provider: CUDA multiplies with 10 bits of mantissa (TF32), which is more
 * than the bound. Errors: NUMERIC_CHECK where the difference is above it, NOT_A_NUMBER.
 */
export async function checkSlice(
  sliced: Model,
  masked: Model,
  batches: readonly Batch[],
  options: RunOptions & { readonly bound?: number | undefined },
): Promise<NumericCheck> {
  const bound = options.bound ?? sliceBound(masked)
  const exact: RunOptions = { ...options, provider: 'cpu' }
  const goOn = findContinuation(masked)
  const other = await outputsOf(masked, batches, exact, goOn)
  const one = await outputsOf(sliced, batches, exact, goOn)
  let largest = 0
  let compared = 0
  for (const [index, results] of one.entries())
    for (const [name, tensor] of Object.entries(results)) {
      const reference = other[index]?.[name]
      // Caches lose members: they are checked through what is computed from them.
      if (!reference || reference.dims.join() !== tensor.dims.join()) continue
      const least = leastScale(masked.graph.values.get(name))
      largest = Math.max(largest, relativeDifference(name, tensor, reference, least))
      compared++
    }
  if (compared === 0)
    throw new AttncError(
      'NOTHING_COMPARED',
      'numeric',
      'No output of the pruned model has the shape that it had before, so the two can’t be compared.',
      { suggestions: ['Nothing was written. Protect the dimensions that reach the outputs.'] },
    )
  if (largest <= bound) return { largest, bound, ...(goOn && { hasBranches: true }) }
  throw new AttncError(
    'NUMERIC_CHECK',
    'numeric',
    `The pruned model differs from the masked one by ${largest.toExponential(1)} of its largest output; ${bound} is allowed.`,
    { suggestions: ['Nothing was written. Please report the model: this is a fault of attnc.'] },
  )
}

async function outputsOf(
  model: Model,
  batches: readonly Batch[],
  options: RunOptions,
  goOn?: Continuation,
): Promise<Record<string, RuntimeTensor>[]> {
  const found: Record<string, RuntimeTensor>[] = []
  await runBatches(model, batches, options, undefined, (results) => {
    found.push(results)
  })
  if (!goOn) return found
  const before = await outputsOf(model, batches.map(goOn.before), options)
  const next = batches.map((batch, index) => goOn.after(batch, before[index] ?? {}))
  return [...found, ...(await outputsOf(model, next, options).catch(notContinued))]
}

/** Error: BRANCH_NOT_RUN. */
function notContinued(cause: unknown): never {
  if (!(cause instanceof AttncError) || cause.code === 'INTERRUPTED') throw cause
  throw new AttncError(
    'BRANCH_NOT_RUN',
    'usage',
    `The model holds a branch that goes on from a cache, and it doesn't run on the caches that the other branch left after the first inputs. ${cause.message}`,
    {
      suggestions: [
        'Nothing was written. Give inputs that it runs on with --data, or prune the export whose decoders are not merged.',
      ],
      cause,
    },
  )
}

const squashing = new Set(['Sigmoid', 'HardSigmoid', 'Softmax', 'Tanh', 'Erf', 'Softsign'])

/**
 * What an output is measured by at least. Those between 0 and 1 are rounded as numbers near 1 are: chances that are
 * all next to nothing differ by that and mean the same.
 */
function leastScale(output: Value | undefined): number {
  const isPassed = (node: Node): boolean => isMover(node) || node.op === 'Cast'
  const made = output ? [...upstream(output, isPassed)] : []
  return made.some(({ op }) => squashing.has(op)) ? 1e-3 : 1e-6
}

function relativeDifference(
  name: string,
  one: RuntimeTensor,
  other: RuntimeTensor,
  least: number,
): number {
  const [a, b] = [numbersOf(one), numbersOf(other)]
  const { difference, scale, oddAt } = compareNumbers(a, b, least)
  if (oddAt >= 0)
    throw new AttncError(
      'NOT_A_NUMBER',
      'numeric',
      `Output "${name}" of the ${Number.isNaN(a[oddAt]) ? 'pruned' : 'dense'} model is NaN at element ${oddAt}.`,
    )
  return difference / scale
}

/** Logits are hundreds of millions of numbers: nothing here makes an object of one. */
function compareNumbers(
  a: Float64Array | Float32Array,
  b: Float64Array | Float32Array,
  least: number,
) {
  let difference = 0
  let scale = least
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number
    const y = b[i] as number
    const size = Math.abs(y)
    if (size > scale && size < Number.POSITIVE_INFINITY) scale = size
    if (x === y) continue
    const gap = Math.abs(x - y)
    // Infinities of one sign are equal, so that one of the two is none of a number here, or both are.
    if (Number.isNaN(gap) && !(Number.isNaN(x) && Number.isNaN(y)))
      return { difference, scale, oddAt: i }
    if (gap > difference) difference = gap
  }
  return { difference, scale, oddAt: -1 }
}
