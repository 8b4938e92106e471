/**
 * Adapters of other tools on this model, and this model's for other tools. Modules are found by the
 * names that exporters leave on nodes and constants; shapes and layer numbers have to agree.
 */
import { AttncError } from '../../errors.js'
import type { Graph } from '../../graph/graph.js'
import { type Products, plainProducts } from '../../linear-algebra/products.js'
import { numbersOf, type RuntimeTensor, tensorOf, toConstant } from '../../onnx/numbers.js'
import { cutNumbers, type Trainable, type TrainedWeight } from '../weights/trainable.js'
import { findWeights, type Weight } from '../weights/weights.js'
import type { Adapter, AdapterPair } from './adapter-file.js'
import { addPair, type FoldedWeight } from './fold.js'

/** The weights of the graph with the adapter in them. Errors: ADAPTER_UNPLACED. */
export async function foldAdapter(
  graph: Graph,
  adapter: Adapter,
  products: Products = plainProducts,
): Promise<FoldedWeight[]> {
  const all = findWeights(graph)
  const unplaced: string[] = []
  const place = (module: string, fits: (weight: Weight) => boolean): Weight | undefined => {
    const found = findModule(all, module, fits)
    if (!found) unplaced.push(module)
    return found
  }
  const pairs = adapter.pairs.flatMap((pair) => {
    const weight = place(pair.module, (each) => fitsPair(each, pair))
    return weight ? [[weight, pair] as const] : []
  })
  const whole = [...adapter.whole].flatMap(([module, tensor]) => {
    const weight = place(module, (each) => fitsWhole(each, tensor))
    return weight ? [foldWhole(weight, tensor)] : []
  })
  if (unplaced.length === 0) {
    const folded: FoldedWeight[] = []
    for (const [weight, pair] of pairs) folded.push(await foldPair(products, weight, pair))
    return [...folded, ...whole]
  }
  throw new AttncError(
    'ADAPTER_UNPLACED',
    'usage',
    `The model has no weight of the name and shape of ${unplaced.length} modules of the adapter: ${unplaced.slice(0, 4).join(', ')}${unplaced.length > 4 ? ' …' : ''}.`,
    {
      suggestions: [
        'Use the model that the adapter was trained for, exported with the names of its modules and without fused projections.',
      ],
    },
  )
}

const fitsPair = ({ matrix, role, tensor: { dims } }: Weight, pair: AdapterPair): boolean =>
  role === 'embeddings'
    ? dims[0] === pair.inputs && dims[1] === pair.outputs
    : matrix?.inputs === pair.inputs && matrix.outputs === pair.outputs

const fitsWhole = ({ matrix, tensor: { dims } }: Weight, { dims: own }: RuntimeTensor): boolean =>
  own.join() === (matrix ? [matrix.outputs, matrix.inputs] : dims).join() ||
  own.join() === dims.join()

async function foldPair(
  products: Products,
  weight: Weight,
  { a, b, inputs, outputs, scale }: AdapterPair,
): Promise<FoldedWeight> {
  const { tensor, name } = weight
  const rank = a.length / inputs
  const isTurned = weight.role !== 'embeddings' && weight.matrix?.isTurned
  const parts = isTurned ? [b, a] : [turned(a, rank, inputs), turned(b, outputs, rank)]
  const numbers = await addPair(products, tensor, parts, scale)
  return { name, tensor: toConstant(tensorOf(tensor.dataType, tensor.dims, numbers)) }
}

function foldWhole({ matrix, tensor, name }: Weight, own: RuntimeTensor): FoldedWeight {
  const numbers = Float32Array.from(numbersOf(own))
  const isTurnedHere = matrix !== undefined && !matrix.isTurned
  const [rows = 0, columns = 0] = own.dims
  const stored = isTurnedHere ? turned(numbers, rows, columns) : numbers
  return { name, tensor: toConstant(tensorOf(tensor.dataType, tensor.dims, stored)) }
}

function turned(numbers: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(numbers.length)
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result[j * rows + i] = numbers[i * columns + j] as number
  return result
}

/** The weight whose path shares most with the module's: the same last part, the same numbers. */
function findModule(
  all: readonly Weight[],
  module: string,
  fits: (weight: Weight) => boolean,
): Weight | undefined {
  const wanted = module.split('.')
  let best: { readonly weight: Weight; readonly score: number } | undefined
  let isTied = false
  for (const weight of all.filter(fits)) {
    const score = Math.max(...pathsOf(weight).map((path) => likeness(path, wanted)))
    if (score === 0 || score < (best?.score ?? 0)) continue
    isTied = score === best?.score
    best = { weight, score }
  }
  return isTied ? undefined : best?.weight
}

/** Paths by the constant's name and its product's: `/model/layers.0/attn/q_proj/MatMul` and the like. */
function pathsOf({ name, matrix }: Weight): string[][] {
  const names = matrix?.product ? [name, matrix.product.name] : [name]
  return names.map((each) => {
    const parts = each.split(/[/.]/).filter((part) => part !== '')
    while (parts.length > 1 && /^(weight|MatMul|Gemm)(_\d+)?$/.test(parts.at(-1) ?? '')) parts.pop()
    return parts
  })
}

/**
 * How many parts two paths have in common, in order, and the fewer others the better; 0 unless the last
 * part and all numbers are the same.
 */
function likeness(one: readonly string[], other: readonly string[]): number {
  const numbers = (path: readonly string[]): string =>
    path.filter((part) => /^\d+$/.test(part)).join()
  if (one.at(-1) !== other.at(-1) || numbers(one) !== numbers(other)) return 0
  let row = new Array<number>(other.length + 1).fill(0)
  for (const part of one) {
    const next = [0]
    for (const [at, each] of other.entries())
      next.push(
        part === each
          ? (row[at] as number) + 1
          : Math.max(row[at + 1] as number, next[at] as number),
      )
    row = next
  }
  return (row.at(-1) as number) + 1 / (1 + one.length)
}

/** What training found, as an adapter; modules are named as the model names them. */
export function adapterOf(trainable: Trainable, numbers: Float32Array): Adapter {
  const pairs: AdapterPair[] = []
  const whole = new Map<string, RuntimeTensor>()
  const { method } = trainable
  const scale = method.kind === 'lora' ? method.alpha / method.rank : 1
  for (const [index, parts] of cutNumbers(trainable, numbers).entries()) {
    const weight = trainable.weights[index] as TrainedWeight
    const module = moduleOf(weight)
    const [first, second] = parts
    const { matrix, form } = weight
    if (form === 'whole' || !first || !second || !matrix) {
      whole.set(module, tensorOf('float32', weight.tensor.dims, first ?? []))
      continue
    }
    const { inputs, outputs, isTurned } = matrix
    const rank = first.length / (weight.tensor.dims[0] ?? 1)
    const [a, b] = isTurned
      ? [second, first]
      : [turned(first, inputs, rank), turned(second, rank, outputs)]
    pairs.push({ module, inputs, outputs, a, b, scale })
  }
  return { pairs, whole }
}

/** The longer of the two paths says more. */
const moduleOf = (weight: Weight): string =>
  pathsOf(weight)
    .toSorted((a, b) => b.length - a.length)[0]
    ?.join('.') ?? weight.name
