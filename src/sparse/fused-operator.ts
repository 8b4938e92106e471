/**
 * Dense attention by an operator of ONNX Runtime: MultiHeadAttention or GroupQueryAttention, where it can say what
 * the block does. Both count queries from the first key on, so models with a cache keep to attnc's operator.
 */
import type { Node, Value } from '../graph/graph.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { FusedOperator } from '../plan/plan.js'
import type { EmitContext } from './emit.js'
import type { Heads } from './heads.js'
import { Unreadable } from './unreadable.js'

/** [batch, heads, queries, value size]. Throws `Unreadable` where the operator can't do it. */
export function emitFused(c: EmitContext, heads: Heads, operator: FusedOperator): Value {
  const why = (operator === 'MultiHeadAttention' ? whyNotMultiHead : whyNotGroupQuery)(c, heads)
  if (why) throw new Unreadable(`${operator} has no ${why}`)
  const { build, read } = c
  const { graph } = build.edit
  if (!graph.model.opsets.has('com.microsoft')) graph.model.opsets.set('com.microsoft', 1)
  const flat = [heads.query, heads.key, heads.value].map((each) => sideBySide(build, each))
  const node = operator === 'MultiHeadAttention' ? multiHead(c, flat) : groupQuery(c, heads, flat)
  const apart = build.op('Reshape', [node.outputs[0], build.ints(0, 0, read.heads, -1)])
  return build.op('Transpose', [apart], { perm: [0, 2, 1, 3] })
}

function whyNotMultiHead({ read, facts }: EmitContext, heads: Heads): string | undefined {
  if (heads.keyValueHeads !== read.heads) return 'groups of heads that share keys'
  if (read.softcap > 0) return 'soft cap'
  if (facts.window !== undefined) return 'window'
  if (read.isCleared) return 'queries that see no key'
  return undefined
}

function whyNotGroupQuery({ facts, bias, read }: EmitContext): string | undefined {
  if (!facts.causal) return 'attention to later keys'
  if (facts.padding !== undefined) return 'padding but on the right'
  if (bias) return 'masks of other kinds'
  if (read.block.headSize !== read.block.valueHeadSize) return 'values of another size'
  return undefined
}

function multiHead(c: EmitContext, inputs: readonly Value[]): Node {
  const { build, read, facts, padding, bias, type } = c
  // Padding is added to scores; the operator wants to know which keys are seen.
  const seen =
    padding &&
    build.cast(
      build.op('Greater', [
        build.op('Reshape', [padding, build.ints(0, -1)]),
        build.number(-1, type),
      ]),
      'int32',
    )
  return build.edit.addNode({
    op: 'MultiHeadAttention',
    domain: 'com.microsoft',
    inputs: [...inputs, undefined, seen, bias].slice(0, bias ? 6 : seen ? 5 : 3),
    outputs: ['attention'],
    attributes: {
      num_heads: { kind: 'int', value: BigInt(read.heads) },
      scale: { kind: 'float', value: read.scale },
      unidirectional: { kind: 'int', value: facts.causal ? 1n : 0n },
    },
    before: build.before,
  })
}

function groupQuery(c: EmitContext, heads: Heads, inputs: readonly Value[]): Node {
  const { build, read, facts, keys } = c
  const total = build.cast(keys, 'int32')
  const batch = build.sizes(heads.query, 0, 1)
  const last = build.op('Sub', [total, build.cast(build.ints(1), 'int32')])
  const lengths = build.op('Expand', [last, batch])
  const window = facts.window === undefined ? -1n : BigInt(facts.window)
  return build.edit.addNode({
    op: 'GroupQueryAttention',
    domain: 'com.microsoft',
    inputs: [...inputs, undefined, undefined, lengths, build.op('Reshape', [total, build.ints()])],
    outputs: ['attention', 'key', 'value'],
    attributes: {
      num_heads: { kind: 'int', value: BigInt(read.heads) },
      kv_num_heads: { kind: 'int', value: BigInt(heads.keyValueHeads) },
      scale: { kind: 'float', value: read.scale },
      softcap: { kind: 'float', value: read.softcap },
      local_window_size: { kind: 'int', value: window },
    },
    before: build.before,
  })
}

/** [batch, heads, tokens, size] as [batch, tokens, heads·size]. */
const sideBySide = (build: NodeBuilder, value: Value): Value =>
  build.op('Reshape', [
    build.op('Transpose', [value], { perm: [0, 2, 1, 3] }),
    build.ints(0, 0, -1),
  ])
