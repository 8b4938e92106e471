/** Names for new values that no value has: not in the graph, not around it, and not inside its nodes. */
import type { Graph, Node } from './graph.js'
import { graphsInside } from './links.js'

export class FreshNames {
  /** Names of inner graphs; gathered when the first new name is needed. */
  private inside: Set<string> | undefined
  /** The number that made a name unique last, so that many of one name are numbered in one pass. */
  private readonly lastNumbers = new Map<string, number>()

  constructor(private readonly graph: Graph) {}

  /** The name itself, or the next with a number that is free. */
  unlike(name: string): string {
    let unique = name
    let n = this.lastNumbers.get(name) ?? 0
    while (this.graph.findValue(unique) || this.isUsedInside(unique)) unique = `${name}_${++n}`
    this.lastNumbers.set(name, n)
    return unique
  }

  /** A node came in with what is inside it. */
  noteInside(node: Node): void {
    for (const inner of graphsInside(node))
      for (const name of inner.values.keys()) this.inside?.add(name)
  }

  /** What is inside of nodes changed. */
  forgetInside(): void {
    this.inside = undefined
  }

  /** A new outer name may not be one of an inner graph: scopes don't shadow each other. */
  private isUsedInside(name: string): boolean {
    this.inside ??= new Set(
      [...this.graph.nodes()].flatMap((node) =>
        [...graphsInside(node)].flatMap((inner) => [...inner.values.keys()]),
      ),
    )
    return this.inside.has(name)
  }
}
