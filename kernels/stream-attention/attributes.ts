/** Attributes, sizes and refusals of StreamAttention. */
import { type Attribute, floatAttribute, intAttribute, type Node } from '../../src/graph/graph.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { float, int } from '../body-builder.js'
import { type KernelType, kernelError } from '../kernel.js'

export const NAME = 'StreamAttention'

export interface StreamAttributes {
  /** Newest tokens that a query sees, itself included. */
  readonly window: number
  /** First tokens, which are never forgotten. */
  readonly sinks: number
  /** Tokens beyond the window that are kept for the attention they got. */
  readonly heavy: number
  /** 0 is 1/√d. */
  readonly scale: number
  /** Scores become softcap · tanh(score / softcap); 0 leaves them as they are. */
  readonly softcap: number
  /** The window is that of a step's first query, so that a step's tokens all see each other. */
  readonly denseStep: boolean
  /** Pairs that rotate together are neighbours, not half a head apart. */
  readonly rotaryInterleaved: boolean
}

const names: Readonly<Record<keyof StreamAttributes, string>> = {
  window: 'window',
  sinks: 'sinks',
  heavy: 'heavy',
  scale: 'scale',
  softcap: 'softcap',
  denseStep: 'dense_step',
  rotaryInterleaved: 'rotary_interleaved',
}

export function checkStreamAttributes(given: Partial<StreamAttributes>): StreamAttributes {
  const attributes: StreamAttributes = {
    window: given.window ?? 0,
    sinks: given.sinks ?? 0,
    heavy: given.heavy ?? 0,
    scale: given.scale ?? 0,
    softcap: given.softcap ?? 0,
    denseStep: given.denseStep ?? false,
    rotaryInterleaved: given.rotaryInterleaved ?? false,
  }
  const refuse = (name: keyof StreamAttributes, expected: string): never => {
    const text = `attribute "${names[name]}" is ${attributes[name]}; expected ${expected}.`
    throw kernelError('KERNEL_ATTRIBUTE', NAME, text)
  }
  for (const [name, least] of [
    ['window', 1],
    ['sinks', 0],
    ['heavy', 0],
  ] as const)
    if (!(Number.isInteger(attributes[name]) && attributes[name] >= least))
      refuse(name, `a whole number, ${least} or more`)
  for (const name of ['scale', 'softcap'] as const)
    if (!(Number.isFinite(attributes[name]) && attributes[name] >= 0))
      refuse(name, 'a number, 0 or more')
  return attributes
}

export const encodeStreamAttributes = (
  attributes: StreamAttributes,
): Readonly<Record<string, Attribute>> => ({
  window: int(attributes.window),
  sinks: int(attributes.sinks),
  heavy: int(attributes.heavy),
  scale: float(attributes.scale),
  softcap: float(attributes.softcap),
  dense_step: int(attributes.denseStep ? 1 : 0),
  rotary_interleaved: int(attributes.rotaryInterleaved ? 1 : 0),
})

export const decodeStreamAttributes = (node: Node): StreamAttributes =>
  checkStreamAttributes({
    window: intAttribute(node, 'window', 0),
    sinks: intAttribute(node, 'sinks', 0),
    heavy: intAttribute(node, 'heavy', 0),
    scale: floatAttribute(node, 'scale', 0),
    softcap: floatAttribute(node, 'softcap', 0),
    denseStep: intAttribute(node, 'dense_step', 0) !== 0,
    rotaryInterleaved: intAttribute(node, 'rotary_interleaved', 0) !== 0,
  })

/**
 * B batch, H heads, K key-value heads, S new tokens, d head size, e value head size, C slots, P heads that the
 * slots are told apart for.
 */
export interface StreamSizes {
  readonly B: number
  readonly H: number
  readonly K: number
  readonly S: number
  readonly d: number
  readonly e: number
  readonly C: number
  readonly P: number
}

const storage: ReadonlySet<DataType> = new Set(['float32', 'float16', 'bfloat16', 'float64'])

export function readStreamSizes(
  inputs: readonly (KernelType | undefined)[],
  attributes: StreamAttributes,
): StreamSizes {
  const [query, key, value, positions, pastKey, pastValue, slots, scores, frequencies] = inputs
  const refuse = (message: string) => kernelError('KERNEL_INPUT', NAME, message)
  if (query?.dims.length !== 4 || value?.dims.length !== 4 || key?.dims.length !== 4)
    throw refuse('query, key and value are expected with 4 dimensions: batch, heads, tokens, size.')
  const [B, H, S, d] = query.dims as [number, number, number, number]
  const K = key.dims[1] as number
  const e = value.dims[3] as number
  if (!storage.has(query.dataType))
    throw refuse(`"query" is ${query.dataType}; expected a floating type.`)
  if (K < 1 || H % K !== 0)
    throw refuse(`${H} query heads can't share ${K} key-value heads evenly.`)
  const { sinks, window, heavy } = attributes
  const C = sinks + window + heavy
  const P = heavy > 0 ? K : 1
  const expect = (
    name: string,
    each: KernelType | undefined,
    dataType: DataType,
    dims: readonly number[],
  ): void => {
    const fits =
      each?.dataType === dataType &&
      each.dims.length === dims.length &&
      each.dims.every((dim, axis) => dim === dims[axis])
    if (fits) return
    const found = each ? `${each.dataType} [${each.dims}]` : 'missing'
    throw refuse(`"${name}" is ${found}; expected ${dataType} [${dims}].`)
  }
  expect('key', key, query.dataType, [B, K, S, d])
  expect('value', value, query.dataType, [B, K, S, e])
  expect('positions', positions, 'int64', [B, S])
  expect('past_key', pastKey, query.dataType, [B, K, C, d])
  expect('past_value', pastValue, query.dataType, [B, K, C, e])
  expect('past_slots', slots, 'int64', [B, P, C])
  if (heavy > 0) expect('past_scores', scores, 'float32', [B, K, C])
  else if (scores) throw refuse('"past_scores" is given, but "heavy" is 0; expected none.')
  if (frequencies) {
    if (heavy > 0)
      throw refuse('"rotary_frequencies" is given, but "heavy" is not 0; expected one of them.')
    const pairs = frequencies.dims[0] ?? 0
    if (frequencies.dims.length !== 1 || pairs < 1 || 2 * pairs > d)
      throw refuse(
        `"rotary_frequencies" is [${frequencies.dims}]; expected 1 to ${Math.floor(d / 2)} numbers.`,
      )
  }
  return { B, H, K, S, d, e, C, P }
}
