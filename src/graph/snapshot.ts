/** Lists and orders of a graph as they were at one moment: put back whole, so that undoing is exact. */
import type { Graph, Node, Value } from './graph.js'

export class Snapshot {
  private readonly inputs: readonly Value[]
  private readonly outputs: readonly Value[]
  private readonly values: readonly Value[]
  private readonly nodes: readonly Node[]

  constructor(private readonly graph: Graph) {
    this.inputs = [...graph.inputs]
    this.outputs = [...graph.outputs]
    this.values = [...graph.values.values()]
    this.nodes = [...graph.nodes()]
  }

  restore(): void {
    const { graph } = this
    graph.inputs.splice(0, graph.inputs.length, ...this.inputs)
    graph.outputs.splice(0, graph.outputs.length, ...this.outputs)
    graph.values.clear()
    for (const value of this.values) graph.values.set(value.name, value)
    graph.nodesById.clear()
    for (const node of this.nodes) graph.nodesById.append(node)
  }
}
