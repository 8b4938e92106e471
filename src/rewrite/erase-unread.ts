/** Takes away what nothing reads any more: a node, and those before it that only it has read. */
import type { GraphEdit } from '../graph/edit.js'
import { captured } from '../graph/extract.js'
import type { Node } from '../graph/graph.js'

export function eraseUnread(edit: GraphEdit, last: Node): void {
  const queue = [last]
  for (let node = queue.pop(); node; node = queue.pop()) {
    if (!edit.graph.nodesById.has(node.id)) continue
    const isRead = node.outputs.some(
      (value) => value && (value.uses.size > 0 || value.isGraphOutput),
    )
    if (isRead) continue
    const inputs = [...node.inputs, ...captured(node)]
    edit.erase(node)
    for (const input of inputs) {
      if (input?.producer) queue.push(input.producer)
      else if (input && !input.isGraphInput) edit.eraseConstant(input)
    }
  }
}
