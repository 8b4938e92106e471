/** Attributes that all block attention operators share, and the checks of the inputs they share. */
import { type Attribute, floatAttribute, intAttribute, type Node } from '../../src/graph/graph.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { float, int } from '../body-builder.js'
import { type KernelType, kernelError } from '../kernel.js'

export interface BlockAttentionAttributes {
  /** Keys after the query's own position are hidden. */
  readonly causal: boolean
  /** 0 is 1/√d. */
  readonly scale: number
  /** Scores become softcap · tanh(score / softcap); 0 leaves them as they are. */
  readonly softcap: number
  /** Keys further than window−1 positions from the query are hidden; 0 hides none. */
  readonly window: number
  /** The first keys, which the window never hides. */
  readonly sinks: number
  readonly queryBlock: number
  readonly keyBlock: number
  /** Position of the first query among the keys; −1 is T − S: the queries are the last. */
  readonly queryStart: number
}

const names: Readonly<Record<keyof BlockAttentionAttributes, string>> = {
  causal: 'causal',
  scale: 'scale',
  softcap: 'softcap',
  window: 'window',
  sinks: 'sinks',
  queryBlock: 'query_block',
  keyBlock: 'key_block',
  queryStart: 'query_start',
}

export function checkAttributes(
  operator: string,
  given: Partial<BlockAttentionAttributes>,
): BlockAttentionAttributes {
  const causal = given.causal ?? false
  const attributes = {
    causal,
    scale: given.scale ?? 0,
    softcap: given.softcap ?? 0,
    window: given.window ?? 0,
    sinks: given.sinks ?? 0,
    queryBlock: given.queryBlock ?? 64,
    keyBlock: given.keyBlock ?? 64,
    queryStart: given.queryStart ?? (causal ? -1 : 0),
  }
  const refuse = (name: keyof BlockAttentionAttributes, expected: string): never => {
    const text = `attribute "${names[name]}" is ${attributes[name]}; expected ${expected}.`
    throw kernelError('KERNEL_ATTRIBUTE', operator, text)
  }
  for (const name of ['queryBlock', 'keyBlock'] as const)
    if (!(attributes[name] >= 16 && attributes[name] <= 128 && attributes[name] % 16 === 0))
      refuse(name, 'a multiple of 16 from 16 to 128')
  for (const name of ['window', 'sinks'] as const)
    if (!(Number.isInteger(attributes[name]) && attributes[name] >= 0))
      refuse(name, 'a whole number, 0 or more')
  for (const name of ['scale', 'softcap'] as const)
    if (!(Number.isFinite(attributes[name]) && attributes[name] >= 0))
      refuse(name, 'a number, 0 or more')
  if (!(Number.isInteger(attributes.queryStart) && attributes.queryStart >= -1))
    refuse('queryStart', 'a whole number, or -1 for the end of the keys')
  return attributes
}

export const encodeAttributes = (
  attributes: BlockAttentionAttributes,
): Readonly<Record<string, Attribute>> => ({
  causal: int(attributes.causal ? 1 : 0),
  scale: float(attributes.scale),
  softcap: float(attributes.softcap),
  window: int(attributes.window),
  sinks: int(attributes.sinks),
  query_block: int(attributes.queryBlock),
  key_block: int(attributes.keyBlock),
  query_start: int(attributes.queryStart),
})

export const decodeAttributes = (node: Node): BlockAttentionAttributes =>
  checkAttributes(node.op, {
    causal: intAttribute(node, 'causal', 0) !== 0,
    scale: floatAttribute(node, 'scale', 0),
    softcap: floatAttribute(node, 'softcap', 0),
    window: intAttribute(node, 'window', 0),
    sinks: intAttribute(node, 'sinks', 0),
    queryBlock: intAttribute(node, 'query_block', 64),
    keyBlock: intAttribute(node, 'key_block', 64),
    queryStart: intAttribute(node, 'query_start', -1),
  })

/** B batch, H heads, K key-value heads, S queries, T keys, d head size, e value head size. */
export interface AttentionSizes {
  readonly B: number
  readonly H: number
  readonly K: number
  readonly S: number
  readonly T: number
  readonly d: number
  readonly e: number
  /** Position of the first query. */
  readonly start: number
}

const storage: ReadonlySet<DataType> = new Set(['float32', 'float16', 'bfloat16', 'float64'])

/** Reads the sizes of query, key and value; refuses what doesn't fit together. */
export function readSizes(
  operator: string,
  inputs: readonly (KernelType | undefined)[],
  attributes: BlockAttentionAttributes,
): AttentionSizes {
  const [query, key, value] = inputs
  const refuse = (message: string) => kernelError('KERNEL_INPUT', operator, message)
  if (!query || !key || !value) throw refuse('query, key and value are needed.')
  for (const [name, { dims, dataType }] of Object.entries({ query, key, value })) {
    if (dims.length !== 4)
      throw refuse(`"${name}" is [${dims}]; expected 4 dimensions: batch, heads, tokens, size.`)
    if (!storage.has(dataType) || dataType !== query.dataType)
      throw refuse(`"${name}" is ${dataType}; expected the floating type of the query.`)
  }
  const [B, H, S, d] = query.dims as [number, number, number, number]
  const [, K, T] = key.dims as [number, number, number, number]
  const e = value.dims[3] as number
  if (K < 1 || H % K !== 0)
    throw refuse(`${H} query heads can't share ${K} key-value heads evenly.`)
  const expect = (name: string, dims: readonly number[], expected: readonly number[]): void => {
    if (dims.some((dim, axis) => dim !== expected[axis]))
      throw refuse(`"${name}" is [${dims}]; expected [${expected}].`)
  }
  expect('key', key.dims, [B, K, T, d])
  expect('value', value.dims, [B, K, T, e])
  const start = attributes.queryStart < 0 ? T - S : attributes.queryStart
  if (start < 0)
    throw refuse(`${S} queries can't be the last of ${T} keys; expected S ≤ T or a query_start.`)
  return { B, H, K, S, T, d, e, start }
}

/** Layouts are shared by all heads, or by neighbours: L of them, each for H/L heads in a row. */
export function checkLayoutCount(
  operator: string,
  name: string,
  L: number,
  { H, K }: Pick<AttentionSizes, 'H' | 'K'>,
): void {
  if (L >= 1 && H % L === 0 && (K % L === 0 || L % K === 0)) return
  throw kernelError(
    'KERNEL_INPUT',
    operator,
    `"${name}" has ${L} layouts for ${H} query and ${K} key-value heads; expected 1, or a number that divides both evenly or is a multiple of the second.`,
  )
}

/** Key lengths [B] and bias [1 or B, 1 or H, S, T]. */
export function checkMasks(
  operator: string,
  lengths: KernelType | undefined,
  bias: KernelType | undefined,
  { B, H, S, T }: AttentionSizes,
): void {
  if (lengths && (lengths.dims.length !== 1 || lengths.dims[0] !== B))
    throw kernelError(
      'KERNEL_INPUT',
      operator,
      `"key_lengths" is [${lengths.dims}]; expected [${B}].`,
    )
  if (!bias) return
  const [b, h, s, t] = bias.dims
  const fits = bias.dims.length === 4 && (b === 1 || b === B) && (h === 1 || h === H)
  if (!fits || s !== S || t !== T)
    throw kernelError(
      'KERNEL_INPUT',
      operator,
      `"bias" is [${bias.dims}]; expected [1 or ${B}, 1 or ${H}, ${S}, ${T}].`,
    )
}
