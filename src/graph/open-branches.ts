/**
 * Branches of an If that share most weights, as the two ways of a decoder with and without a cache do: their nodes
 * come to stand open in the graph around, weights stored in both become one, and the If only chooses between
 * results. All that works on graphs then sees both uses of a weight. close-branches.ts puts back what only one
 * branch needs, so that a file has what it had, and nothing runs that would not have.
 */

import { areEqual, likenessOf } from '../onnx/equal-tensors.js'
import { elementCount, type Tensor } from '../onnx/tensor.js'
import { copyNode } from './copy-node.js'
import { copyAttribute } from './extract.js'
import { type Branch, Graph, type Model, Node, Value } from './graph.js'
import { link, nodesInside, unlink } from './links.js'

const BRANCHES = ['then_branch', 'else_branch'] as const
type Side = (typeof BRANCHES)[number]

/** Opens the branches of every If of the main graph that are ways of one model; others stay as they are. */
export function openBranches({ graph }: Model): void {
  for (const join of [...graph.nodes()]) {
    const found = join.op === 'If' && join.domain === '' ? readBranches(join) : undefined
    if (found) open(join, found)
  }
}

interface Sides {
  /** The branch that holds all weights; the other does again what it does. */
  readonly first: Side
  readonly second: Side
  readonly graphs: Readonly<Record<Side, Graph>>
  /** Weights of the second branch that the first has too, and what stands for them. */
  readonly stands: ReadonlyMap<Value, Value>
}

function readBranches(join: Node): Sides | undefined {
  const [yes, no] = BRANCHES.map((side) => join.attributes.get(side))
  if (yes?.kind !== 'graph' || no?.kind !== 'graph') return undefined
  const graphs = { then_branch: yes.value, else_branch: no.value }
  if (
    Object.values(graphs).some(
      ({ inputs, outputs, branch }) =>
        branch || inputs.length > 0 || outputs.length !== join.outputs.length,
    )
  )
    return undefined
  const weights = {
    then_branch: weightsOf(join, yes.value),
    else_branch: weightsOf(join, no.value),
  }
  const first = firstOf(join, graphs, weights)
  const second = first === 'then_branch' ? 'else_branch' : 'then_branch'
  const stands = findEqual(graphs[second], join.graph, graphs[first])
  const own = weights[second]
  const shared = [...own].filter((each) => weights[first].has(stands.get(each) ?? each))
  return sizeOf(shared) > 0 && 2 * sizeOf(shared) >= sizeOf(own)
    ? { first, second, graphs, stands }
    : undefined
}

/** The one of more weights; of as many the one that reads fewer inputs, so that no cache is needed. */
function firstOf(
  join: Node,
  graphs: Sides['graphs'],
  weights: Readonly<Record<Side, ReadonlySet<Value>>>,
): Side {
  const inputs = (side: Side): number =>
    join.graph.inputs.filter(({ uses }) =>
      [...uses].some(({ node }) => isInside(node.graph, graphs[side])),
    ).length
  const more = sizeOf(weights.then_branch) - sizeOf(weights.else_branch)
  const isThen = more === 0 ? inputs('then_branch') < inputs('else_branch') : more > 0
  return isThen ? 'then_branch' : 'else_branch'
}

const isInside = (graph: Graph | undefined, around: Graph): boolean =>
  graph !== undefined && (graph === around || isInside(graph.outer, around))

/** Matrices of numbers that a branch reads, its own and those of the graph around. */
function weightsOf(join: Node, inner: Graph): Set<Value> {
  const found = new Set<Value>()
  for (const node of nodesInside(join))
    if (isInside(node.graph, inner))
      for (const value of node.inputs)
        if (value?.constant && isMatrix(value.constant)) found.add(value)
  return found
}

const isMatrix = ({ dims, dataType }: Tensor): boolean =>
  dims.length > 1 && elementCount(dims) > 1 && !/^(bool|string|u?int(16|32|64))$/.test(dataType)

const sizeOf = (values: Iterable<Value>): number =>
  [...values].reduce((sum, { constant }) => sum + elementCount(constant?.dims ?? []), 0)

/**
 * Constants of `own` that stand with the same numbers in the graph around or in the other branch: by name, else in
 * order, so that vectors that happen to be equal keep their partners. Sizes and single numbers are no weights.
 */
function findEqual(own: Graph, around: Graph, other: Graph): Map<Value, Value> {
  const isWeight = ({ constant }: Value): boolean =>
    constant !== undefined &&
    !constant.strings &&
    constant.dims.some((size) => size > 1) &&
    !/^(bool|u?int(16|32|64))$/.test(constant.dataType)
  const mine = [...own.initializers()].filter(isWeight)
  const stands = new Map<Value, Value>()
  if (mine.length === 0) return stands
  const alike = new Map<string, Value[]>()
  for (const value of [...other.initializers(), ...around.initializers()].filter(isWeight)) {
    const key = likenessOf(value.constant as Tensor)
    alike.set(key, [...(alike.get(key) ?? []), value])
  }
  const taken = new Set<Value>()
  for (const value of mine) {
    const equal = (alike.get(likenessOf(value.constant as Tensor)) ?? []).filter((each) =>
      areEqual(each.constant as Tensor, value.constant as Tensor),
    )
    const free = equal.filter((each) => !taken.has(each))
    const partner = free.find(({ name }) => name === value.name) ?? free[0] ?? equal.at(-1)
    if (!partner) continue
    taken.add(partner)
    stands.set(value, partner)
  }
  return stands
}

function open(join: Node, { first, second, graphs, stands }: Sides): void {
  const { graph } = join
  unlink(join)
  const opened = new Map<Value, Value>()
  const made = [first, second].flatMap((side) => {
    const inner = graphs[side]
    const branch: Branch = { prefix: `${join.label}/${side}/`, isAgain: side === second }
    const nodes = openBranch(
      inner,
      graph,
      branch,
      (value) => {
        const stand = stands.get(value) ?? value
        return opened.get(stand) ?? (stand.graph === graph ? stand : undefined)
      },
      opened,
    )
    join.attributes.set(side, { kind: 'graph', value: handOn(inner, join, branch, opened) })
    return nodes
  })
  for (const each of made) {
    graph.nodesById.delete(each.id)
    graph.nodesById.insertBefore(each, join)
  }
  link(join)
}

/** Copies what a branch defines into the graph around; names that are taken there get the branch's prefix. */
function openBranch(
  inner: Graph,
  graph: Graph,
  branch: Branch,
  standIn: (value: Value) => Value | undefined,
  opened: Map<Value, Value>,
): Node[] {
  for (const value of inner.values.values()) {
    const stand = standIn(value)
    if (stand) {
      opened.set(value, stand)
      continue
    }
    const isFree = !branch.isAgain && !graph.values.has(value.name)
    const copy = new Value(isFree ? value.name : freeName(graph, branch.prefix + value.name), graph)
    copy.type = value.type
    copy.message = value.message
    copy.constant = value.constant
    opened.set(value, copy)
    graph.values.set(copy.name, copy)
  }
  const copyOf = (value: Value): Value => opened.get(value) ?? value
  return [...inner.nodes()].map((node) => {
    const copy = copyNode(node, graph, {
      name: node.name && (branch.isAgain ? branch.prefix + node.name : node.name),
      inputOf: copyOf,
      outputOf: copyOf,
      attributeOf: (attribute) => copyAttribute(attribute, graph, { copyOf, prefix: '' }),
    })
    copy.message = node.message
    copy.origin = node.origin
    copy.branch = branch
    link(copy)
    return copy
  })
}

function freeName(graph: Graph, name: string): string {
  let free = name
  for (let n = 1; graph.values.has(free); n++) free = `${name}_${n}`
  return free
}

/** What is left of a branch: its results, which the graph around makes now. */
function handOn(
  inner: Graph,
  join: Node,
  branch: Branch,
  opened: ReadonlyMap<Value, Value>,
): Graph {
  const { graph } = join
  const rest = new Graph(inner.name, graph.model, graph)
  rest.message = inner.message
  rest.branch = branch
  for (const [index, output] of inner.outputs.entries()) {
    const source = opened.get(output)
    const result = new Value(freeName(graph, `${branch.prefix}result.${index}`), rest)
    result.type = output.type && { dataType: output.type.dataType, dims: undefined }
    const node = new Node(graph.model.nextNodeId(), rest, 'Identity', '', result.name)
    node.inputs.push(source)
    node.outputs.push(result)
    result.producer = node
    rest.nodesById.append(node)
    rest.values.set(result.name, result)
    rest.outputs.push(result)
  }
  return rest
}
