/**
 * Sizes that show only while running, worked out from the inputs of the graph. A Shape of the value itself
 * would keep all its bytes until the size is asked for, which may be at the end of the backward pass.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Graph, Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'
import type { NodeBuilder } from './node-builder.js'

/** Sizes that an edit has worked out, as they are written. */
const known = new WeakMap<GraphEdit, Map<string, Value>>()

/** int64 [n], a constant where all are known; undefined where one depends on more than the inputs. */
export function sizesOf(b: NodeBuilder, sizes: readonly Size[]): Value | undefined {
  const numbers = sizes.map((size) => size.value)
  if (numbers.every((number) => number !== undefined)) return b.ints(...(numbers as number[]))
  const places = placesOf(b.edit.graph, b.shapes)
  if (!sizes.every((size) => size.symbols.every((symbol) => places.has(symbol)))) return undefined
  const made = known.get(b.edit) ?? new Map<string, Value>()
  known.set(b.edit, made)
  const key = sizes.join(', ')
  const found = made.get(key) ?? join(b, sizes, places)
  made.set(key, found)
  return found
}

/** Whether the sizes of the inputs say these. */
export function areTold(graph: Graph, shapes: ShapeInfo, sizes: readonly Size[]): boolean {
  const places = placesOf(graph, shapes)
  return sizes.every((size) => size.symbols.every((symbol) => places.has(symbol)))
}

interface Place {
  readonly input: Value
  readonly axis: number
}

/** Where the inputs have each symbol. */
function placesOf(graph: Graph, shapes: ShapeInfo): Map<string, Place> {
  const places = new Map<string, Place>()
  for (const input of graph.inputs) {
    if (input.constant) continue
    for (const [axis, size] of shapes.dims(input)?.entries() ?? []) {
      const [symbol] = size.symbols
      const isSymbol = symbol !== undefined && size.monomials.length === 1
      if (isSymbol && size.toString() === symbol && !places.has(symbol))
        places.set(symbol, { input, axis })
    }
  }
  return places
}

/** At the head of the graph, so that everything may read it. */
function join(b: NodeBuilder, sizes: readonly Size[], places: ReadonlyMap<string, Place>): Value {
  const head = b.atHead()
  const readSymbol = (symbol: string): Value => {
    const { input, axis } = places.get(symbol) as Place
    return head.sizes(input, axis, axis + 1)
  }
  const readSize = (size: Size): Value => {
    if (size.value !== undefined) return b.ints(size.value)
    const terms = size.monomials.map(({ factor, symbols }) => {
      const factors = symbols.map(readSymbol)
      const all = factor === 1 && factors.length > 0 ? factors : [b.ints(factor), ...factors]
      return all.reduce((product, each) => head.op('Mul', [product, each]))
    })
    return terms.reduce((sum, each) => head.op('Add', [sum, each]))
  }
  const parts = sizes.map(readSize)
  return parts.length === 1 ? (parts[0] as Value) : head.op('Concat', parts, { axis: 0 })
}
