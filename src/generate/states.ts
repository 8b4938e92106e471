/**
 * Which outputs become which inputs in the next step: key-value caches and recurrent states. Exporters
 * name them as they like, so they are paired by the graph: an output belongs to the input of the same
 * type and fixed sizes from which the way is shortest. Later layers read it too, but from further away.
 */
import { type Graph, innerGraphs, type Model, type Node, type Value } from '../graph/graph.js'
import { isFloating } from '../onnx/data-type.js'

export interface StatePair {
  readonly input: Value
  readonly output: Value
}

/** Pairs in the order of the inputs; inputs that nothing continues are left out. */
export function findStates({ graph }: Model): StatePair[] {
  const candidates = graph.inputs.filter((input) => !input.constant && isState(input))
  const holders = findHolders(graph)
  const free = new Set(graph.outputs)
  const ways = candidates.map((input) => ({ input, ...nearestOutputs(input, holders) }))
  const pairs = new Map<Value, Value>()
  // Shortest ways first: what they take is no longer open to others.
  for (const { input, outputs } of ways.toSorted((a, b) => a.distance - b.distance)) {
    // A fused operator makes keys and values at once: both in the order of its slots.
    const output = outputs.find((each) => free.has(each))
    if (!output) continue
    free.delete(output)
    pairs.set(input, output)
  }
  return candidates.flatMap((input) => {
    const output = pairs.get(input)
    return output ? [{ input, output }] : []
  })
}

/** Floats (or quantised numbers) of three axes or more: [batch, heads, past, size] and its kin. */
function isState({ type }: Value): boolean {
  const { dataType, dims } = type ?? {}
  if (!dataType || !dims || dims.length < 3) return false
  return isFloating(dataType) || dataType === 'int8' || dataType === 'uint8'
}

function isAlike(input: Value, output: Value): boolean {
  const [a, b] = [input.type, output.type]
  if (!a?.dims || !b?.dims) return false
  if (a.dataType !== b.dataType || a.dims.length !== b.dims.length) return false
  return a.dims.every((dim, axis) => {
    const other = b.dims?.[axis]
    return typeof dim !== 'number' || typeof other !== 'number' || dim === other
  })
}

/** The nodes that hold the graphs inside a graph. */
function findHolders(graph: Graph, found = new Map<Graph, Node>()): Map<Graph, Node> {
  for (const node of graph.nodes())
    for (const inner of innerGraphs(node)) {
      found.set(inner, node)
      findHolders(inner, found)
    }
  return found
}

/** Breadth first along what reads the input; outputs of one operator come in the order of its slots. */
function nearestOutputs(
  input: Value,
  holders: ReadonlyMap<Graph, Node>,
): { readonly outputs: readonly Value[]; readonly distance: number } {
  let front: Value[] = [input]
  const seen = new Set(front)
  for (let distance = 0; front.length > 0; distance++) {
    const outputs = front.filter((each) => each.graph === input.graph && each.isGraphOutput)
    const fitting = outputs.filter((each) => isAlike(input, each))
    if (fitting.length > 0) return { outputs: fitting, distance }
    front = front.flatMap((value) => successors(value, holders)).filter((each) => !seen.has(each))
    front = [...new Set(front)]
    for (const each of front) seen.add(each)
  }
  return { outputs: [], distance: Number.POSITIVE_INFINITY }
}

function successors(value: Value, holders: ReadonlyMap<Graph, Node>): Value[] {
  const next = [...value.uses].flatMap(({ node }) => node.outputs)
  const holder = holders.get(value.graph)
  const place = value.graph.outputs.indexOf(value)
  if (holder && place >= 0) next.push(holder.outputs[place])
  return next.filter((each) => each !== undefined)
}
