/** Nodes by id, and in an order in which one can be put before another at no cost, however many there are. */
import type { Node } from './graph.js'

interface Place {
  readonly node: Node
  previous: Place | undefined
  next: Place | undefined
  isGone: boolean
}

export class NodeList implements Iterable<readonly [number, Node]> {
  private readonly places = new Map<number, Place>()
  private first: Place | undefined
  private last: Place | undefined

  get size(): number {
    return this.places.size
  }

  has(id: number): boolean {
    return this.places.has(id)
  }

  get(id: number): Node | undefined {
    return this.places.get(id)?.node
  }

  /** Puts a node at the end. */
  append(node: Node): void {
    this.insert(node, this.last, undefined)
  }

  /** Puts a node before another one; at the end where that is none of these. */
  insertBefore(node: Node, next: Node | undefined): void {
    const place = next && this.places.get(next.id)
    if (place) this.insert(node, place.previous, place)
    else this.append(node)
  }

  /** Puts a node behind another one; at the end where that is none of these. */
  insertAfter(node: Node, previous: Node): void {
    const place = this.places.get(previous.id)
    this.insert(node, place ?? this.last, place?.next)
  }

  delete(id: number): void {
    const place = this.places.get(id)
    if (!place) return
    const { previous, next } = place
    if (previous) previous.next = next
    else this.first = next
    if (next) next.previous = previous
    else this.last = previous
    // Who is at this place just now still finds the way on.
    place.isGone = true
    this.places.delete(id)
  }

  clear(): void {
    for (const id of [...this.places.keys()]) this.delete(id)
  }

  /** In order; nodes that are put behind the present one meanwhile are visited, those that are taken away are not. */
  *values(): IterableIterator<Node> {
    for (let place = this.first; place; place = place.next) if (!place.isGone) yield place.node
  }

  *[Symbol.iterator](): IterableIterator<readonly [number, Node]> {
    for (const node of this.values()) yield [node.id, node]
  }

  private insert(node: Node, previous: Place | undefined, next: Place | undefined): void {
    const place = { node, previous, next, isGone: false }
    if (previous) previous.next = place
    else this.first = place
    if (next) next.previous = place
    else this.last = place
    this.places.set(node.id, place)
  }
}
