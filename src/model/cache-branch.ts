/**
 * The two ways of a model with an open If: one reads all tokens, the other goes on from what the
 * first made of those before, its keys and values or whatever else it is fed again. Which output is
 * fed to which input is read from the axes: both have the same heads, and the same sizes of heads.
 */
import { type AxisAnalysis, analyseAxes } from '../axes/analysis.js'
import type { Axis } from '../axes/axis.js'
import { type Graph, isOpened, type Node, type Value } from '../graph/graph.js'
import { isFloating } from '../onnx/data-type.js'

export interface CacheBranch {
  readonly join: Node
  /** The input that chooses, where it is one, and what it says where there is nothing to go on from. */
  readonly choice: { readonly input: Value; readonly atStart: 0 | 1 } | undefined
}

/** The first If of a graph whose branches stand open. */
export function findCacheBranch(graph: Graph): CacheBranch | undefined {
  for (const join of graph.nodes()) {
    const first = [...join.attributes].find(
      ([, each]) => each.kind === 'graph' && each.value.branch && !each.value.branch.isAgain,
    )
    if (first) return { join, choice: choiceOf(join, first[0] === 'then_branch') }
  }
  return undefined
}

const movers = ['Identity', 'Cast', 'Reshape', 'Squeeze', 'Unsqueeze', 'Not']

/** `atStart`: what the condition is there. Where it is computed, as from the length of a cache, nothing is fed. */
function choiceOf({ inputs: [condition] }: Node, atStart: boolean): CacheBranch['choice'] {
  let value = condition
  let stated = atStart
  while (value?.producer && movers.includes(value.producer.op)) {
    if (value.producer.op === 'Not') stated = !stated
    value = value.producer.inputs[0]
  }
  return value?.isGraphInput && !value.constant
    ? { input: value, atStart: stated ? 1 : 0 }
    : undefined
}

/** Outputs and the inputs that they are in the next run, by name. Empty without an open If. */
export function findCarry(graph: Graph): ReadonlyMap<string, string> {
  const carry = new Map<string, string>()
  if (![...graph.nodes()].some(isOpened)) return carry
  const analysis = analyseAxes(graph)
  const free = graph.outputs.filter(({ producer }) => producer && isOpened(producer))
  const pair = (inputs: readonly Value[], isSame: typeof hasSameAxes): readonly Value[] =>
    inputs.filter((input) => {
      const state = stateOf(analysis, input)
      const at = state ? free.findIndex((output) => isSame(state, stateOf(analysis, output))) : -1
      const [output] = at >= 0 ? free.splice(at, 1) : []
      if (output) carry.set(output.name, input.name)
      return !output
    })
  // Quantised weights may hide which axes are the same; sizes and the order tell then.
  pair(pair(graph.inputs, hasSameAxes).filter(isReadAfter), hasSameSizes)
  return carry
}

/** Whether the branch that goes on is the only one that reads a value. */
const isReadAfter = ({ uses }: Value): boolean =>
  uses.size > 0 && [...uses].every(({ node }) => node.branch?.isAgain)

/** Axes of fixed sizes; undefined for what is no state: tokens, masks, scores of one position. */
function stateOf(analysis: AxisAnalysis, value: Value): State | undefined {
  const type = analysis.shapes.dataType(value)
  const axes = analysis.axes(value)
  if (!type || !isFloating(type) || !axes || axes.length < 3) return undefined
  return axes.map((axis) => (axis.size.value === undefined ? undefined : axis.root))
}

type State = readonly (Axis | undefined)[]

const hasSameAxes = (one: State, other: State | undefined): boolean =>
  one.length === other?.length && one.every((axis, index) => axis === other[index])

const hasSameSizes = (one: State, other: State | undefined): boolean =>
  one.length === other?.length &&
  one.some((axis) => axis) &&
  one.every((axis, index) => axis?.size.value === other[index]?.size.value)
