/**
 * The learned constants of a model by what they do: projections of attention and of feed-forward
 * blocks, other products, tables that are looked up, gains of norms, biases. What is trained is chosen
 * by these roles, so that the choice is the same for every exporter.
 */
import type { Contraction } from '../../axes/analysis.js'
import type { Node, Use, Value } from '../../graph/graph.js'
import { floatAttribute, intAttribute } from '../../graph/graph.js'
import { findLearned } from '../../inspect/parameters.js'
import { readModel, type TransformerModel } from '../../model/model.js'
import { isRecurrence, upstream } from '../../model/trace.js'
import type { Tensor } from '../../onnx/tensor.js'
import { elementCount } from '../../onnx/tensor.js'
import type { WeightRole } from './weight-role.js'

export interface Weight {
  readonly name: string
  readonly tensor: Tensor
  readonly role: WeightRole
  /** Set for a matrix that products read: [inputs, outputs] as it is stored, or turned. */
  readonly matrix:
    | {
        readonly inputs: number
        readonly outputs: number
        readonly isTurned: boolean
        /** The product that reads it, where it is the only reader and has no factor of its own. */
        readonly product: Node | undefined
      }
    | undefined
}

/** Learned single and half precision constants of the graph, in order of their first reader. */
export function findWeights(model: TransformerModel['graph']): Weight[] {
  const view = readModel(model)
  const roles = rolesOfProducts(view)
  const order = new Map([...model.nodes()].map((node, index) => [node, index]))
  const first = ({ uses }: Value): number =>
    Math.min(...[...uses].map(({ node }) => order.get(node) ?? order.size))
  return findLearned(view.analysis)
    .map(([value]) => value)
    .filter((value) => !value.producer && isPlain(value.constant))
    .sort((a, b) => first(a) - first(b))
    .flatMap((value) => readWeight(value, roles) ?? [])
}

const isPlain = (tensor: Tensor | undefined): boolean =>
  tensor !== undefined &&
  ['float32', 'float16'].includes(tensor.dataType) &&
  elementCount(tensor.dims) > 1

type Roles = ReadonlyMap<Node, { readonly contraction: Contraction; readonly role: WeightRole }>

function rolesOfProducts(view: TransformerModel): Roles {
  const { contractions } = view.analysis
  const found = new Map(
    contractions.map((contraction) => [
      contraction.node,
      { contraction, role: 'others' as WeightRole },
    ]),
  )
  const name = (node: Node, role: WeightRole): void => {
    const known = found.get(node)
    if (known) found.set(node, { ...known, role })
  }
  const hasWeight = (node: Node): boolean =>
    node.inputs.some(
      (input, index) =>
        input &&
        view.analysis.isConstant(input) &&
        found.get(node)?.contraction.operands.some((operand) => operand.input === index),
    )
  for (const { node, context, outputProjection } of view.attention) {
    name(node, 'attention')
    if (outputProjection) name(outputProjection.node, 'attention')
    // Queries, keys and values: the nearest products with a weight.
    for (const each of upstream(context, (other) => !hasWeight(other)))
      if (hasWeight(each)) name(each, 'attention')
  }
  for (const { node, producers } of view.feedForward)
    for (const each of [node, ...producers]) name(each, 'feedForward')
  return found
}

function readWeight(value: Value, roles: Roles): Weight | undefined {
  const tensor = value.constant
  if (!tensor) return undefined
  const reads = [...readsOf(value)]
  // Experts that are picked by number are tables of matrices, not of vectors.
  const isTable = tensor.dims.length === 2 && reads.some(isLookup)
  const product = reads.find(({ node, index }) =>
    roles.get(node)?.contraction.operands.some(({ input }) => input === index),
  )
  const role = isTable ? 'embeddings' : product && roles.get(product.node)?.role
  return {
    name: value.name,
    tensor,
    role:
      role ??
      (reads.some(isGain)
        ? 'norms'
        : reads.some(isLookup) || reads.some(isRecurrent)
          ? 'others'
          : 'biases'),
    matrix: product && readMatrix(value, tensor, product, roles),
  }
}

interface Read extends Use {
  /** Whether a Transpose stands between. */
  readonly isTurned: boolean
}

const movers = ['Transpose', 'Identity', 'Cast', 'Reshape', 'Squeeze', 'Unsqueeze']

/** Reads of a constant, through what only moves it. */
function* readsOf(value: Value, isTurned = false): IterableIterator<Read> {
  for (const use of value.uses) {
    const [output] = use.node.outputs
    if (use.index === 0 && output && movers.includes(use.node.op))
      yield* readsOf(output, isTurned !== (use.node.op === 'Transpose'))
    else yield { node: use.node, index: use.index, isTurned }
  }
}

const isLookup = ({ node, index }: Use): boolean =>
  (index === 0 && node.op.startsWith('Gather')) ||
  (node.op === 'EmbedLayerNormalization' && index >= 2 && index <= 4)

/** What a recurrence multiplies its last state with. */
const isRecurrent = ({ node, index }: Use): boolean => index === 2 && isRecurrence(node)

const isGain = ({ node, index }: Use): boolean =>
  node.op === 'Mul' || (/Norm/.test(node.op) && isGainSlot(node, index))

/** Operators that look up or add before they norm take the gain later. */
const isGainSlot = ({ op }: Node, index: number): boolean =>
  index === (/^Skip/.test(op) ? 2 : /^Embed/.test(op) ? 5 : 1)

function readMatrix(
  value: Value,
  tensor: Tensor,
  { node, index, isTurned }: Read,
  roles: Roles,
): Weight['matrix'] {
  const operand = roles.get(node)?.contraction.operands.find(({ input }) => input === index)
  if (tensor.dims.length !== 2 || !operand || node.inputs[index] === undefined) return undefined
  const [rows = 0, columns = 0] = tensor.dims
  const isOutputFirst = isTurned !== (operand.axis === 1)
  const [inputs, outputs] = isOutputFirst ? [columns, rows] : [rows, columns]
  const isPlainProduct =
    node.op === 'MatMul' ||
    (node.op === 'Gemm' &&
      floatAttribute(node, 'alpha', 1) === 1 &&
      intAttribute(node, 'transA', 0) === 0)
  const isOwn = value.uses.size === 1 && node.inputs[index] === value && index === 1
  return {
    inputs,
    outputs,
    isTurned: isOutputFirst,
    product: node.domain === '' && isPlainProduct && isOwn ? node : undefined,
  }
}
