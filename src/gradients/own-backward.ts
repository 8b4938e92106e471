/**
 * The backward pass of attnc's own operators: that of the body of standard operators that each of them comes with, run
 * again once the gradient is there. So the forward pass keeps its kernel, of the operator nothing but inputs is
 * kept, and the work is that of the blocks which are kept: all else is never gathered.
 */
import { KERNEL_DOMAIN } from '../../kernels/kernel.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { type WrittenCall, writeCall } from '../graph/write-call.js'
import { foldNode } from '../rewrite/fold-node.js'
import type { ShapeInfo } from '../shape/infer.js'

/** Bodies of attnc's operators, as nodes that nothing reads yet: their shapes are known to the rules. */
export class OwnBodies {
  private readonly bodies = new Map<Node, WrittenCall>()
  private readonly members = new Set<Node>()

  constructor(
    private readonly edit: GraphEdit,
    isOnTheWay: (node: Node) => boolean,
  ) {
    const { graph } = edit
    for (const node of [...graph.nodes()]) {
      const called = node.domain === KERNEL_DOMAIN && graph.model.findFunction(node)
      if (called && isOnTheWay(node)) this.bodies.set(node, writeCall(edit, node, called))
    }
  }

  find(node: Node): WrittenCall | undefined {
    return this.bodies.get(node)
  }

  /** Whether a node is of a body. */
  has(node: Node): boolean {
    return this.members.has(node)
  }

  /** What is the same in every run becomes constants: most of a body works out sizes. */
  fold(shapes: ShapeInfo): void {
    const { edit } = this
    for (const [node, { nodes, outputs }] of this.bodies) {
      const own: Node[] = []
      for (const each of nodes) if (!foldNode(edit, each, shapes)) own.push(each)
      for (const each of nodes.toReversed()) if (!own.includes(each)) edit.erase(each)
      this.bodies.set(node, { nodes: own, outputs })
      for (const each of own) this.members.add(each)
    }
  }

  /** Takes away what nothing reads: all that was run again elsewhere. */
  eraseUnread(): void {
    for (const { nodes } of this.bodies.values())
      for (const each of nodes.toReversed())
        if (each.outputs.every((output: Value | undefined) => !output || output.uses.size === 0))
          this.edit.erase(each)
  }
}
