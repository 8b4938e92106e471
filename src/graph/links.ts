/**
 * Def–use links of a node with all that is inside it: nodes of inner graphs read values around them, so
 * they come and go with the node that holds them.
 */
import { type Graph, innerGraphs, type Node, type Use, type Value } from './graph.js'

/** Graphs that a node holds, and those inside them. */
export function* graphsInside(node: Node): IterableIterator<Graph> {
  for (const inner of innerGraphs(node)) {
    yield inner
    for (const each of inner.nodes()) yield* graphsInside(each)
  }
}

/** Nodes of all graphs that a node holds. */
export function* nodesInside(node: Node): IterableIterator<Node> {
  for (const inner of graphsInside(node)) yield* inner.nodes()
}

/** Enters a node, and those inside it, as readers of what they read. */
export function link(node: Node): void {
  for (const reader of [node, ...nodesInside(node)])
    for (const [index, value] of reader.inputs.entries()) {
      const isKnown =
        reader !== node && [...(value?.uses ?? [])].some((use) => isUse(use, reader, index))
      if (!isKnown) value?.uses.add({ node: reader, index })
    }
}

/** Takes them out again. */
export function unlink(node: Node): void {
  for (const reader of [node, ...nodesInside(node)])
    for (const [index, value] of reader.inputs.entries())
      for (const use of value?.uses ?? []) if (isUse(use, reader, index)) value?.uses.delete(use)
}

/** Another value at one of a node's inputs. */
export function relink(node: Node, index: number, value: Value | undefined): void {
  const before = node.inputs[index]
  if (before) for (const use of before.uses) if (isUse(use, node, index)) before.uses.delete(use)
  while (node.inputs.length <= index) node.inputs.push(undefined)
  node.inputs[index] = value
  value?.uses.add({ node, index })
}

const isUse = (use: Use, node: Node, index: number): boolean =>
  use.node === node && use.index === index

/**
 * How many of a node's inputs are to be named. Names at the end that stand for nothing say what leaving them away says,
 * and ONNX Runtime crashes on some of them.
 */
export const countGiven = (inputs: readonly (Value | string | undefined)[]): number =>
  inputs.findLastIndex((each) => each !== undefined && each !== '') + 1
