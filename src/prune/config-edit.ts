/**
 * Configs that state head counts and widths (transformers, onnxruntime-genai) say the new ones. A
 * number is changed where its key is known to mean the dimension and its value is the old size in every
 * layer; sizes that differ between layers go to `attnc.layers`.
 */
import type { TransformerModel } from '../model/model.js'
import type { Json } from '../model-folder/save.js'

/** Sizes of one layer. */
interface LayerSizes {
  readonly heads?: number
  readonly keyValueHeads?: number
  readonly headSize?: number
  readonly valueHeadSize?: number
  readonly width?: number
}

type Field = keyof LayerSizes

const keys: Readonly<Record<string, Field>> = {
  num_attention_heads: 'heads',
  num_heads: 'heads',
  n_head: 'heads',
  n_heads: 'heads',
  encoder_attention_heads: 'heads',
  decoder_attention_heads: 'heads',
  num_key_value_heads: 'keyValueHeads',
  head_dim: 'headSize',
  head_size: 'headSize',
  d_kv: 'headSize',
  intermediate_size: 'width',
  ffn_dim: 'width',
  encoder_ffn_dim: 'width',
  decoder_ffn_dim: 'width',
  n_inner: 'width',
  hidden_dim: 'width',
  d_ff: 'width',
}

export function layerSizes(view: TransformerModel): LayerSizes[] {
  const layers: Record<string, number>[] = Array.from({ length: view.layers }, () => ({}))
  for (const block of view.attention) {
    if (block.kind === 'cross') continue
    const { heads, keyValueHeads, headSize, valueHeadSize } = block
    Object.assign(layers[block.layer] ?? {}, { heads, keyValueHeads, headSize, valueHeadSize })
  }
  for (const block of view.feedForward)
    Object.assign(layers[block.layer] ?? {}, { width: block.width })
  return layers
}

/** A config with the sizes of `after` where it had those of `before`; the same object if none had. */
export function editConfig(
  config: Json,
  before: readonly LayerSizes[],
  after: readonly LayerSizes[],
): Json {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return config
  const object = config as { readonly [key: string]: Json }
  const changed: Record<string, Json> = {}
  let isUneven = false
  for (const [key, value] of Object.entries(object)) {
    const field = keys[key]
    if (field && typeof value === 'number') {
      const old = uniform(before, field)
      const now = uniform(after, field)
      if (old === value && now !== undefined) changed[key] = now
      else if (old === value) isUneven = true
      else changed[key] = value
      if (old === value && now === undefined) changed[key] = value
    } else changed[key] = editConfig(value, before, after)
  }
  const isTransformer = 'num_attention_heads' in object || 'n_head' in object
  // Hosts that divide hidden by heads have to be told the head size once heads went.
  if (isTransformer && !('head_dim' in object)) {
    const size = uniform(after, 'headSize')
    if (size !== undefined && changed['num_attention_heads'] !== object['num_attention_heads'])
      changed['head_dim'] = size
  }
  if (isUneven && isTransformer) changed['attnc'] = { layers: after as unknown as Json }
  const same = JSON.stringify(changed) === JSON.stringify(object)
  return same ? config : changed
}

function uniform(layers: readonly LayerSizes[], field: Field): number | undefined {
  const sizes = layers.flatMap((layer) => layer[field] ?? [])
  return sizes.length > 0 && sizes.every((size) => size === sizes[0]) ? sizes[0] : undefined
}
