/**
 * Carries out the patterns of a part of a plan: fused operators are written out, each block is read, and
 * either replaced by attention over blocks, or given the pattern as a mask. Masks that the pattern's
 * node states itself are not computed any more.
 */

import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import type { AttentionPatterns } from '../plan/plan.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { needs, raiseOpset } from '../rewrite/raise-opset.js'
import { againOf } from './again.js'
import { type BlockContext, type EmitContext, emitAttention } from './emit.js'
import { fullCaches } from './full-caches.js'
import { emitFused } from './fused-operator.js'
import { asContext, readHeads, shapeWith } from './heads.js'
import type { KeptBlocks, Layout } from './kept-blocks.js'
import { biasOf, paddingOf } from './masks.js'
import { parsePattern } from './pattern.js'
import { readAttention } from './read.js'
import { patternMask } from './reference-mask.js'
import { Unreadable } from './unreadable.js'
import { writeOut } from './write-out.js'

/** The model becomes one of a version that has the operators. Errors: PATTERN, PATTERN_BLOCK, OPSET_TOO_OLD. */
export function rewriteAttention(
  edit: GraphEdit,
  given: TransformerModel,
  entries: readonly AttentionPatterns[],
  as: 'slice' | 'mask',
): void {
  raiseOpset(edit, needs.sparse)
  const givenBlocks = entries.flatMap((entry) => findBlocks(given, entry))
  const checks = new Map<Value, Value>()
  const full =
    as === 'mask'
      ? []
      : givenBlocks.map((block) => fullCaches(edit, given.analysis.shapes, block, checks))
  const view = writeOut(edit, given, givenBlocks)
  const blocks = new Map<string, KeptBlocks>()
  const layouts = new Map<KeptBlocks, Layout>()
  const paddings = new Map<string, Value>()
  const places = entries.flatMap((entry) =>
    findBlocks(view, entry).map((block, place) => ({ entry, block, isAgain: place > 0 })),
  )
  for (const [index, { entry, block, isAgain }] of places.entries()) {
    try {
      const read = readAttention(view, block)
      const all = { causal: false, kept: read.masks.map((_, index) => index) }
      const facts = isAgain ? { ...all, causal: checkCausal(entry) } : (entry.masks ?? all)
      const patterns = entry.patterns.map(parsePattern)
      if (patterns.length !== 1 && patterns.length !== read.heads)
        throw new Unreadable(
          `it has ${read.heads} heads, and ${patterns.length} patterns are given`,
        )
      const product = block.context.producer as Node
      const { shapes } = view.analysis
      const afterScores = new NodeBuilder(edit, shapes, product)
      // A mask stands before the softmax, and values may be made after it.
      const build = as === 'mask' ? new NodeBuilder(edit, shapes, block.node) : afterScores
      const type = shapes.dataType(read.query) ?? 'float32'
      const heads = readHeads(build, view, read, afterScores)
      // Operators are written by what their query says of its type, and files needn't say it.
      edit.setType(heads.query, { dataType: type, dims: heads.query.type?.dims })
      const keysName = String(shapes.dims(block.scores as Value)?.at(-1) ?? entry.block)
      const keys = build.sizes(heads.key, 2, 3)
      const context: BlockContext = { build, read, facts, keys, keysName, blocks }
      if (as === 'mask') {
        addToScores(context, view, patternMask(context, heads, patterns, type))
        continue
      }
      const whole: EmitContext = {
        ...context,
        type,
        layouts,
        full: full[index],
        bias: biasOf(build, view, read, facts, { keys, query: heads.query, type }),
        padding: paddingOf(build, facts, read, type, paddings),
      }
      const result = entry.operator
        ? emitFused(whole, heads, entry.operator)
        : emitAttention(whole, heads, patterns)
      edit.replaceUses(block.context, asContext(build, view, block, result))
      eraseUnread(edit, product)
    } catch (error) {
      throw error instanceof Unreadable ? blockError(entry, error.message) : error
    }
  }
}

/** After a cache, queries are the last of the keys; throws `Unreadable` where that is not known of them. */
function checkCausal({ masks }: AttentionPatterns): true {
  if (masks?.causal) return true
  throw new Unreadable(
    'which keys a query sees is not known, so neither where it stands behind a cache',
  )
}

/** In both branches of a model with a cache and without. */
function findBlocks(view: TransformerModel, entry: AttentionPatterns): LayeredAttention[] {
  const found = view.attention.find((_, index) => entry.block === `attention.${index}`)
  if (found) return [found, ...againOf(found)]
  throw blockError(entry, `the model has ${view.attention.length} blocks of attention`)
}

/** The scores before their softmax get the mask, in the shape [batch, heads, queries, keys]. */
function addToScores({ build, read }: BlockContext, view: TransformerModel, mask: Value): void {
  const { node } = read.block
  const logits = node.inputs[0] as Value
  const rank = view.analysis.axes(logits)?.length ?? 4
  const apart =
    rank === 4 ? logits : build.op('Reshape', [logits, shapeWith(build, logits, [-1, read.heads])])
  const sum = build.op('Add', [apart, mask])
  const result = rank === 4 ? sum : build.op('Reshape', [sum, build.op('Shape', [logits])])
  build.edit.setInput(node, 0, result)
}

const blockError = ({ block }: AttentionPatterns, reason: string): AttncError =>
  new AttncError('PATTERN_BLOCK', 'usage', `"${block}" can't follow a pattern: ${reason}.`, {
    suggestions: ['Leave it out of the plan, or use the plan with the model that it was made for.'],
  })
