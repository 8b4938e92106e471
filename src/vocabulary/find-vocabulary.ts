/**
 * Where a model knows its tokens by number: tables that are looked up by ids, and outputs with a score for
 * each token. The two are one axis where the head is tied; else a last axis as long as the table is one of
 * scores, since hosts read it so. Whatever else reads ids, or numbers tokens, stands in the way.
 */
import { type Axis, leavesOf } from '../axes/axis.js'
import type { Node, Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'

/** A table of tokens and what looks rows up in it. */
export interface TokenLookup {
  readonly node: Node
  /** The input slot of the ids. */
  readonly ids: number
}

export interface FoundVocabulary {
  readonly size: number
  /** Leaves that lose a member with a token. */
  readonly axes: readonly Axis[]
  readonly lookups: readonly TokenLookup[]
  /** Inputs of ids. */
  readonly inputs: readonly Value[]
  /** Outputs whose last axis is tokens. */
  readonly scores: readonly Value[]
  readonly parametersPerToken: number
}

/** What moves ids without looking at them, and what looks at their number or order only. */
const movers = /^(Cast|Reshape|Unsqueeze|Squeeze|Identity|Flatten|Slice|Split|Transpose|Expand)$/
const measures = /^(Shape|Size|ArgMax)$/

/** The vocabulary of a model, or why it can't be cut. */
export function findVocabulary(view: TransformerModel): FoundVocabulary | string {
  const { graph, analysis } = view
  const dimension = view.dimensions.find(({ role }) => role === 'vocabulary')
  if (!dimension) return 'it has no table that token ids are looked up in'
  const { axis, size } = dimension
  const lookups: TokenLookup[] = []
  for (const node of graph.nodes()) {
    const isEmbed = node.op === 'EmbedLayerNormalization'
    if (!isEmbed && node.op !== 'Gather' && node.op !== 'GatherBlockQuantized') continue
    const table = node.inputs[isEmbed ? 2 : 0]
    const rows = table && analysis.isConstant(table) ? analysis.axes(table)?.[0] : undefined
    if (rows?.root === axis.root) lookups.push({ node, ids: isEmbed ? 0 : 1 })
  }
  const labels = new Set(lookups.map(({ node }) => node.label))
  const other = [...dimension.blocked, ...dimension.entangled].find(({ node }) => !labels.has(node))
  if (other) return `at "${other.node}" ${other.text}`
  const inputs = new Set<Value>()
  for (const { node, ids } of lookups) {
    const source = sourceOf(node.inputs[ids])
    if (!source?.isGraphInput) return `the ids of "${node.label}" are computed`
    inputs.add(source)
  }
  const reader = [...inputs].map((input) => otherReader(input, labels)).find((each) => each)
  if (reader) return `"${reader.label}" (${reader.op}) looks at the ids themselves`
  const scores = graph.outputs.filter((output) => {
    const axes = analysis.axes(output)
    return axes?.length === 3 && axes.at(-1)?.size.value === size
  })
  const axes = new Set([axis.root])
  for (const output of scores) {
    const last = analysis.axes(output)?.at(-1) as Axis
    const [leaf, ...more] = leavesOf(last)
    const reason = leaf?.root === axis.root ? undefined : leaf?.blocked[0]
    if (!leaf || more.length > 0) return `the last axis of "${output.name}" is made of several`
    if (reason) return `at "${reason.node}" ${reason.text}`
    axes.add(leaf.root)
  }
  const own = view.dimensions.filter((each) => axes.has(each.axis.root))
  return {
    size,
    axes: [...axes],
    lookups,
    inputs: [...inputs],
    scores,
    parametersPerToken: own.reduce((sum, each) => sum + each.parametersPerMember, 0),
  }
}

function sourceOf(value: Value | undefined): Value | undefined {
  let source = value
  while (source?.producer && movers.test(source.producer.op)) source = source.producer.inputs[0]
  return source
}

/** A node that reads ids for something else than to look up tokens. */
function otherReader(input: Value, lookups: ReadonlySet<string>): Node | undefined {
  const queue = [input]
  for (let value = queue.pop(); value; value = queue.pop())
    for (const { node, index } of value.uses) {
      if (measures.test(node.op) || lookups.has(node.label)) continue
      if (!movers.test(node.op) || index > 0) return node
      for (const output of node.outputs) if (output) queue.push(output)
    }
  return undefined
}

/** Names of the inputs of ids; none where the vocabulary can't be cut. */
export function idInputs(view: TransformerModel): readonly string[] {
  const found = findVocabulary(view)
  return typeof found === 'string' ? [] : found.inputs.map(({ name }) => name)
}
