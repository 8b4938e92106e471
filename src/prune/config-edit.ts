/**
 * Configs that state head counts and widths (transformers, onnxruntime-genai) say the new ones. A number
 * is changed where its key is known to mean the size and its value is that size in some layers, so a
 * vision_config beside the text model stays. What one number can't say goes to `attnc.layers`.
 * The surprise: genai_config.json gets no new keys, as its reader refuses those it doesn't know.
 */
import type { TransformerModel } from '../model/model.js'
import type { Json } from '../model-folder/save.js'

/** Sizes of one layer. */
export interface LayerSizes {
  readonly heads?: number
  readonly keyValueHeads?: number
  readonly headSize?: number
  readonly valueHeadSize?: number
  readonly crossHeads?: number
  readonly crossKeyValueHeads?: number
  readonly width?: number
  readonly experts?: number
}

/** Sizes that configs state. */
export interface ModelSizes {
  readonly layers: readonly LayerSizes[]
  /** Layers before this one are the encoder's, the others the decoder's; undefined without both. */
  readonly firstDecoderLayer: number | undefined
  /** undefined where stages differ. */
  readonly hidden: number | undefined
  readonly vocabulary: number | undefined
}

type LayerField = keyof LayerSizes
type Field = LayerField | 'hidden' | 'vocabulary'
type Stack = 'encoder' | 'decoder'

/** Source: configuration classes of transformers 4.5x; config.cpp of onnxruntime-genai. */
const keysByField: Readonly<Record<Exclude<Field, 'crossHeads' | 'crossKeyValueHeads'>, string>> = {
  heads: 'num_attention_heads num_heads n_head n_heads num_query_heads attention_heads',
  keyValueHeads: 'num_key_value_heads num_kv_heads n_head_kv n_kv_heads multi_query_group_num',
  headSize: 'head_dim head_size d_kv kv_channels attention_head_dim',
  valueHeadSize: 'v_head_dim',
  width:
    'intermediate_size moe_intermediate_size ffn_dim ffn_hidden_size n_inner hidden_dim d_ff d_inner',
  experts: 'num_experts num_local_experts n_routed_experts',
  hidden: 'hidden_size n_embd d_model dim embed_dim',
  vocabulary: 'vocab_size',
}

const fieldOfKey = new Map<string, Field>(
  Object.entries(keysByField).flatMap(([field, keys]) =>
    keys.split(' ').map((key): [string, Field] => [key, field as Field]),
  ),
)

/** `decoder_ffn_dim` is the width, of the decoder's layers. */
function readKey(key: string): { readonly field: Field; readonly stack?: Stack } | undefined {
  const [, stack, rest] = /^(encoder|decoder)_(.+)$/.exec(key) ?? []
  const field = fieldOfKey.get(rest ?? key)
  return field && { field, ...(stack ? { stack: stack as Stack } : {}) }
}

/** Keys whose null means four times the hidden width. */
const isWidthByDefault = (key: string): boolean =>
  key === 'n_inner' || key === 'intermediate_size' || key === 'ffn_dim'

export function modelSizes(view: TransformerModel): ModelSizes {
  const layers: LayerSizes[] = Array.from({ length: view.layers }, () => ({}))
  for (const { kind, layer, ...block } of view.attention) {
    const { heads, keyValueHeads, headSize, valueHeadSize } = block
    Object.assign(
      layers[layer] ?? {},
      kind === 'cross'
        ? { crossHeads: heads, crossKeyValueHeads: keyValueHeads }
        : { heads, keyValueHeads, headSize, valueHeadSize },
    )
  }
  for (const { layer, width, mixture } of view.feedForward)
    Object.assign(layers[layer] ?? {}, { width, ...(mixture ? { experts: mixture.count } : {}) })
  const firstDecoderLayer = layers.findIndex((layer) => layer.crossHeads !== undefined)
  return {
    layers,
    firstDecoderLayer: firstDecoderLayer > 0 ? firstDecoderLayer : undefined,
    hidden: uniform(view.hidden.map((axis) => axis.size.value)),
    vocabulary: view.vocabulary,
  }
}

/** A config with the sizes of `after` where it had those of `before`; the same object if none had. */
export function editConfig(
  name: string,
  config: Json,
  before: ModelSizes,
  after: ModelSizes,
): Json {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return config
  const object = config as { readonly [key: string]: Json }
  const changed: Record<string, Json> = {}
  const stated = new Set<Field>()
  let isUneven = false
  for (const [key, value] of Object.entries(object)) {
    const meaning = readKey(key)
    const told = meaning && restate(key, value, meaning, before, after)
    changed[key] = told?.value ?? editConfig(name, value, before, after)
    if (!told) continue
    stated.add(meaning.field)
    if (told.value === undefined) isUneven = true
  }
  const isDescribed = stated.has('heads') || stated.has('width')
  if (isDescribed && !/genai_config/i.test(name)) {
    const fields = changedFields(before, after)
    const headSize = uniform(after.layers.map((layer) => layer.headSize))
    // Hosts divide the hidden width by the heads where nothing says the head size.
    const isDividedWrong = fields.has('heads') || fields.has('hidden') || fields.has('headSize')
    if (isDividedWrong && !stated.has('headSize') && headSize !== undefined) {
      changed['head_dim'] = headSize
      stated.add('headSize')
    }
    for (const field of fields)
      isUneven ||= field === 'keyValueHeads' ? !isOneGroup(after, stated) : !stated.has(field)
    if (isUneven) changed['attnc'] = { layers: after.layers as unknown as Json }
  }
  const isSame = JSON.stringify(changed) === JSON.stringify(object)
  return isSame ? config : changed
}

/** Without a key of its own, a config means as many key-value heads as heads. */
const isOneGroup = ({ layers }: ModelSizes, stated: ReadonlySet<Field>): boolean =>
  stated.has('keyValueHeads') || layers.every((layer) => layer.keyValueHeads === layer.heads)

/**
 * What a key says now: undefined where it doesn't speak of this model, a `value` of undefined where one
 * number can't say it.
 */
function restate(
  key: string,
  value: Json,
  { field, stack }: { readonly field: Field; readonly stack?: Stack },
  before: ModelSizes,
  after: ModelSizes,
): { readonly value: Json | undefined } | undefined {
  if (field === 'hidden' || field === 'vocabulary')
    return value === before[field] ? { value: after[field] } : undefined
  const split = before.firstDecoderLayer
  const isInStack = (layer: number): boolean =>
    stack === undefined || split === undefined || layer < split === (stack === 'encoder')
  const sizes = before.layers.map((layer) => layer[field])
  if (Array.isArray(value)) {
    const isPerLayer =
      value.length === sizes.length && value.every((each, layer) => each === sizes[layer])
    return isPerLayer ? { value: after.layers.map((layer) => layer[field] ?? null) } : undefined
  }
  const old = value === null && isWidthByDefault(key) && before.hidden ? 4 * before.hidden : value
  const now = after.layers.flatMap((layer, index) =>
    sizes[index] === old && isInStack(index) ? [layer[field]] : [],
  )
  if (now.length === 0) return undefined
  const size = uniform(now)
  return { value: size === old ? value : size }
}

/** Fields that differ somewhere. Cross-attention as large as self-attention is said with that. */
function changedFields(before: ModelSizes, after: ModelSizes): Set<Field> {
  const fields = new Set<Field>()
  if (before.hidden !== after.hidden) fields.add('hidden')
  if (before.vocabulary !== after.vocabulary) fields.add('vocabulary')
  for (const [index, layer] of after.layers.entries())
    for (const [field, size] of Object.entries(layer) as [LayerField, number][]) {
      const isSelfToo =
        (field === 'crossHeads' && size === layer.heads) ||
        (field === 'crossKeyValueHeads' && size === layer.keyValueHeads) ||
        (field === 'valueHeadSize' && size === layer.headSize)
      if (before.layers[index]?.[field] !== size && !isSelfToo) fields.add(field)
    }
  return fields
}

/** A size that a config states where all layers it speaks of have one size: that, and the graph's. */
export interface StatedSize {
  readonly key: string
  readonly value: number
  readonly found: number
}

/** Sizes stated at this level of a config. Experts have widths of their own, so theirs are left out. */
export function statedSizes(
  config: Readonly<Record<string, unknown>>,
  sizes: ModelSizes,
): StatedSize[] {
  const { layers, firstDecoderLayer: split } = sizes
  const hasExperts = layers.some(({ experts }) => experts !== undefined)
  return Object.entries(config).flatMap(([key, value]) => {
    const { field, stack } = readKey(key) ?? {}
    if (typeof value !== 'number' || !field || field === 'hidden' || field === 'vocabulary')
      return []
    if (hasExperts && (field === 'width' || field === 'experts')) return []
    const spoken = layers.filter(
      (_, layer) =>
        stack === undefined || split === undefined || layer < split === (stack === 'encoder'),
    )
    const found = uniform(spoken.flatMap((layer) => layer[field] ?? []))
    return found === undefined ? [] : [{ key, value, found }]
  })
}

const uniform = (sizes: readonly (number | undefined)[]): number | undefined =>
  sizes.every((size) => size === sizes[0]) ? sizes[0] : undefined
