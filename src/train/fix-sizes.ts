/**
 * The sizes of a batch written into a graph of which all batches have the same: what is computed of sizes alone
 * becomes constants. That is a third of the nodes of an exported model's step, and all of those that a GPU would
 * have to wait for the processor with.
 */
import type { GraphEdit } from '../graph/edit.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { foldNode } from '../rewrite/fold-node.js'
import { fitEmpty } from '../runtime/batches.js'
import type { Feeds } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'
import { TEACHER } from './teacher.js'

/** `feeds` are one batch, by the names of the graph's inputs; other inputs stay as they are. */
export function fixSizes(edit: GraphEdit, feeds: Feeds): void {
  const { graph } = edit
  for (const input of graph.inputs) {
    const { name, type } = input
    const feed = feeds[name.startsWith(TEACHER) ? name.slice(TEACHER.length) : name]
    if (!feed || type?.dims?.length !== feed.dims.length) continue
    // An empty cache is fed with the heads that the graph has: fewer than the data's where some went.
    const { dims } = fitEmpty(feed, { dims: type.dims })
    edit.setType(input, { ...type, dims })
  }
  const shapes = inferShapes(graph)
  for (const node of [...graph.nodes()]) {
    if (!graph.nodesById.has(node.id) || node.op === 'Constant') continue
    if (foldNode(edit, node, shapes)) eraseUnread(edit, node)
  }
}
