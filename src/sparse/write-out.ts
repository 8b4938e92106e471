/**
 * Fused attention in plain operators, products and scores in one form, so that there is one to read. Outputs keep
 * their names.
 */
import { isFusedAttention } from '../axes/rules/attention.js'
import { lowerNodes } from '../gradients/lower/lower.js'
import type { GraphEdit } from '../graph/edit.js'
import { eraseReplaced } from '../graph/erase-replaced.js'
import type { Node } from '../graph/graph.js'
import { readModel, type TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { againOf } from './again.js'
import { writeBlends } from './plain-blends.js'
import { writeMeasures } from './plain-measures.js'
import { writeProductsPlainly } from './plain-products.js'
import { writeScoresPlainly } from './plain-scores.js'

/** The model as it is then. Errors: those of lowerings. */
export function writeOut(
  edit: GraphEdit,
  view: TransformerModel,
  blocks: readonly LayeredAttention[],
): TransformerModel {
  const fused = blocks
    .flatMap(({ node, scores, context }) => [node, scores?.producer, context.producer])
    .filter((node) => node !== undefined)
    .filter((node) => isFusedAttention(node) || node.op === 'FusedMatMul')
  const replaced = new Map(writeProductsPlainly(edit, view, blocks))
  const nodes = new Set([...replaced.keys()].flatMap(({ producer }) => producer ?? []))
  for (const node of fused) nodes.add(node)
  for (const [value, result] of lowerNodes(edit, [...new Set(fused)])) replaced.set(value, result)
  for (const node of nodes) {
    if (!edit.graph.nodesById.has(node.id)) continue
    const inputs = node.inputs.flatMap((input) => input?.producer ?? [])
    eraseReplaced(edit, node, replaced)
    for (const input of inputs) eraseUnread(edit, input)
  }
  const opened = replaced.size === 0 ? view : readModel(edit.graph)
  const softmaxes = new Set(blocks.map(({ node }) => node))
  const own = ownOf(opened, softmaxes)
  const isMeasured = writeMeasures(edit, opened, own)
  const isBlended = writeBlends(edit, opened, own)
  const known = isBlended ? readModel(edit.graph) : opened
  const blended = isBlended ? ownOf(known, softmaxes) : own
  return writeScoresPlainly(edit, known, blended) || isMeasured ? readModel(edit.graph) : known
}

/** The blocks of these softmaxes, in both branches of a model with a cache and without. */
const ownOf = (view: TransformerModel, softmaxes: ReadonlySet<Node>): LayeredAttention[] =>
  view.attention
    .flatMap((each) => [each, ...againOf(each)])
    .filter(({ node }) => softmaxes.has(node))
