/** Attributes, sizes and refusals of BlockSelect. */
import {
  type Attribute,
  floatAttribute,
  intAttribute,
  type Node,
  stringAttribute,
} from '../../src/graph/graph.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { checkLayoutCount } from '../block-attention/attributes.js'
import { float, int, text } from '../body-builder.js'
import { blockRows } from '../gather-block-attention/index.js'
import { type KernelType, kernelError } from '../kernel.js'

export const NAME = 'BlockSelect'

const scorers = ['mean', 'minmax', 'last_query', 'given'] as const
const selects = ['count', 'mass', 'threshold'] as const

export interface SelectAttributes {
  readonly scorer: (typeof scorers)[number]
  readonly select: (typeof selects)[number]
  /** Most blocks of a row, forced ones included; 0 is no limit. */
  readonly count: number
  /** Weight that the kept blocks have to reach. */
  readonly mass: number
  /** Least weight of a kept block. */
  readonly threshold: number
  /** Selections for the heads; 0 is one for each key-value head. */
  readonly selections: number
  readonly sinkBlocks: number
  readonly localBlocks: number
  readonly causal: boolean
  /** 0 is 1/√d. */
  readonly scale: number
  readonly queryBlock: number
  readonly keyBlock: number
  /** Position of the first query among the keys; −1 is T − S. */
  readonly queryStart: number
}

const names: Readonly<Record<keyof SelectAttributes, string>> = {
  scorer: 'scorer',
  select: 'select',
  count: 'count',
  mass: 'mass',
  threshold: 'threshold',
  selections: 'selections',
  sinkBlocks: 'sink_blocks',
  localBlocks: 'local_blocks',
  causal: 'causal',
  scale: 'scale',
  queryBlock: 'query_block',
  keyBlock: 'key_block',
  queryStart: 'query_start',
}

export function checkSelectAttributes(given: Partial<SelectAttributes>): SelectAttributes {
  const causal = given.causal ?? false
  const attributes: SelectAttributes = {
    scorer: given.scorer ?? 'mean',
    select: given.select ?? 'count',
    count: given.count ?? 0,
    mass: given.mass ?? 0,
    threshold: given.threshold ?? 0,
    selections: given.selections ?? 0,
    sinkBlocks: given.sinkBlocks ?? 0,
    localBlocks: given.localBlocks ?? 0,
    causal,
    scale: given.scale ?? 0,
    queryBlock: given.queryBlock ?? 64,
    keyBlock: given.keyBlock ?? 64,
    queryStart: given.queryStart ?? (causal ? -1 : 0),
  }
  const refuse = (name: keyof SelectAttributes, expected: string): never => {
    const found = `attribute "${names[name]}" is ${attributes[name]}; expected ${expected}.`
    throw kernelError('KERNEL_ATTRIBUTE', NAME, found)
  }
  if (!scorers.includes(attributes.scorer)) refuse('scorer', `one of ${scorers.join(', ')}`)
  if (!selects.includes(attributes.select)) refuse('select', `one of ${selects.join(', ')}`)
  for (const name of ['queryBlock', 'keyBlock'] as const)
    if (!(attributes[name] >= 16 && attributes[name] <= 128 && attributes[name] % 16 === 0))
      refuse(name, 'a multiple of 16 from 16 to 128')
  for (const name of ['count', 'selections', 'sinkBlocks', 'localBlocks'] as const)
    if (!(Number.isInteger(attributes[name]) && attributes[name] >= 0))
      refuse(name, 'a whole number, 0 or more')
  for (const name of ['scale', 'threshold'] as const)
    if (!(Number.isFinite(attributes[name]) && attributes[name] >= 0))
      refuse(name, 'a number, 0 or more')
  if (!(Number.isInteger(attributes.queryStart) && attributes.queryStart >= -1))
    refuse('queryStart', 'a whole number, or -1 for the end of the keys')
  if (attributes.select === 'mass' && !(attributes.mass > 0 && attributes.mass <= 1))
    refuse('mass', 'more than 0 and at most 1')
  const forced = mostForced(attributes)
  const least = attributes.select === 'count' ? Math.max(1, forced) : forced
  if ((attributes.count > 0 || attributes.select === 'count') && attributes.count < least)
    refuse('count', `${least} or more, since so many blocks can be forced`)
  return attributes
}

/** Blocks that sink_blocks and local_blocks can force on a row. */
function mostForced(attributes: SelectAttributes): number {
  const { sinkBlocks, localBlocks, queryBlock, keyBlock, causal } = attributes
  if (localBlocks === 0) return sinkBlocks
  const isAligned = queryBlock % keyBlock === 0 || keyBlock % queryBlock === 0
  const own = Math.ceil(queryBlock / keyBlock) + (isAligned ? 0 : 1)
  return sinkBlocks + own + (localBlocks - 1) * (causal ? 1 : 2)
}

export const encodeSelectAttributes = (
  attributes: SelectAttributes,
): Readonly<Record<string, Attribute>> => ({
  scorer: text(attributes.scorer),
  select: text(attributes.select),
  count: int(attributes.count),
  mass: float(attributes.mass),
  threshold: float(attributes.threshold),
  selections: int(attributes.selections),
  sink_blocks: int(attributes.sinkBlocks),
  local_blocks: int(attributes.localBlocks),
  causal: int(attributes.causal ? 1 : 0),
  scale: float(attributes.scale),
  query_block: int(attributes.queryBlock),
  key_block: int(attributes.keyBlock),
  query_start: int(attributes.queryStart),
})

export function decodeSelectAttributes(node: Node): SelectAttributes {
  const whole = (name: keyof SelectAttributes, fallback: number): number =>
    intAttribute(node, names[name], fallback)
  const causal = whole('causal', 0) !== 0
  return checkSelectAttributes({
    scorer: (stringAttribute(node, 'scorer') ?? 'mean') as SelectAttributes['scorer'],
    select: (stringAttribute(node, 'select') ?? 'count') as SelectAttributes['select'],
    count: whole('count', 0),
    mass: floatAttribute(node, 'mass', 0),
    threshold: floatAttribute(node, 'threshold', 0),
    selections: whole('selections', 0),
    sinkBlocks: whole('sinkBlocks', 0),
    localBlocks: whole('localBlocks', 0),
    causal,
    scale: floatAttribute(node, 'scale', 0),
    queryBlock: whole('queryBlock', 64),
    keyBlock: whole('keyBlock', 64),
    queryStart: whole('queryStart', causal ? -1 : 0),
  })
}

/** B batch, H heads, K key-value heads, S queries, T keys, d head size, L selections, R rows, C blocks of keys. */
export interface SelectSizes {
  readonly B: number
  readonly H: number
  readonly K: number
  readonly S: number
  readonly T: number
  readonly d: number
  readonly L: number
  readonly R: number
  readonly C: number
  /** Position of the first query. */
  readonly start: number
  /** Numbers that a summary keeps for each element: 1 for means, 2 for minima and maxima. */
  readonly m: number
}

const storage: ReadonlySet<DataType> = new Set(['float32', 'float16', 'bfloat16', 'float64'])

export function readSelectSizes(
  inputs: readonly (KernelType | undefined)[],
  attributes: SelectAttributes,
): SelectSizes {
  const [query, key, lengths, scores, summary] = inputs
  const refuse = (message: string) => kernelError('KERNEL_INPUT', NAME, message)
  if (query?.dims.length !== 4 || key?.dims.length !== 4)
    throw refuse('query and key are expected with 4 dimensions: batch, heads, tokens, size.')
  const [B, H, S, d] = query.dims as [number, number, number, number]
  const [, K, T] = key.dims as [number, number, number, number]
  const expect = (name: string, { dims, dataType }: KernelType, expected: readonly number[]) => {
    if (dims.length !== expected.length || dims.some((dim, axis) => dim !== expected[axis]))
      throw refuse(`"${name}" is ${dataType} [${dims}]; expected [${expected}].`)
  }
  if (!storage.has(query.dataType) || key.dataType !== query.dataType)
    throw refuse(`query and key are ${query.dataType} and ${key.dataType}; expected one type.`)
  expect('key', key, [B, K, T, d])
  if (K < 1 || H % K !== 0)
    throw refuse(`${H} query heads can't share ${K} key-value heads evenly.`)
  const start = attributes.queryStart < 0 ? T - S : attributes.queryStart
  if (start < 0)
    throw refuse(`${S} queries can't be the last of ${T} keys; expected S ≤ T or a query_start.`)
  const L = attributes.selections || K
  checkLayoutCount(NAME, 'selections', L, { H, K })
  const R = blockRows({ start, S }, attributes)
  const C = Math.ceil(T / attributes.keyBlock)
  const isSummed = attributes.scorer === 'mean' || attributes.scorer === 'minmax'
  const m = attributes.scorer === 'minmax' ? 2 : 1
  if (lengths) expect('key_lengths', lengths, [B])
  if (attributes.scorer === 'given') {
    if (!scores) throw refuse('"scores" is missing; the scorer "given" needs it.')
    expect('scores', scores, [B, H, R, C])
  } else if (scores)
    throw refuse(`"scores" is given; the scorer "${attributes.scorer}" has its own.`)
  if (summary && !isSummed)
    throw refuse(`"past_summary" is given; the scorer "${attributes.scorer}" has none.`)
  if (summary) expect('past_summary', summary, [B, K, summary.dims[2] ?? 0, m, d])
  return { B, H, K, S, T, d, L, R, C, start, m }
}
