/** What configs say after a cut: the keys that mean a size, in every dialect, and nothing else. */
import { describe, expect, test } from 'vitest'
import type { Json } from '../../src/model-folder/save.js'
import { editConfig, type LayerSizes, type ModelSizes } from '../../src/prune/config-edit.js'

const layer = (changes: LayerSizes = {}): LayerSizes => ({
  heads: 8,
  keyValueHeads: 8,
  headSize: 8,
  valueHeadSize: 8,
  width: 256,
  ...changes,
})

const sizes = (layers: readonly LayerSizes[], rest: Partial<ModelSizes> = {}): ModelSizes => ({
  layers,
  firstDecoderLayer: undefined,
  hidden: 64,
  vocabulary: 100,
  ...rest,
})

const grouped = layer({ keyValueHeads: 4 })
const cross = layer({ crossHeads: 8, crossKeyValueHeads: 8 })
const lessHeads = { heads: 6, keyValueHeads: 6 }

interface Case {
  readonly title: string
  readonly name?: string
  readonly config: Json
  readonly before: ModelSizes
  readonly after: ModelSizes
  readonly expected: Json
}

const cases: readonly Case[] = [
  {
    title: 'a decoder with grouped heads',
    config: {
      hidden_size: 64,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 8,
      intermediate_size: 256,
      max_position_embeddings: 256,
      vocab_size: 100,
    },
    before: sizes([grouped, grouped]),
    after: sizes(Array(2).fill(layer({ heads: 6, keyValueHeads: 3, width: 200 }))),
    expected: {
      hidden_size: 64,
      num_attention_heads: 6,
      num_key_value_heads: 3,
      head_dim: 8,
      intermediate_size: 200,
      max_position_embeddings: 256,
      vocab_size: 100,
    },
  },
  {
    title: 'an encoder whose hosts divide hidden by heads is told the head size',
    config: { hidden_size: 64, num_attention_heads: 8, intermediate_size: 256 },
    before: sizes([layer(), layer()]),
    after: sizes([layer(lessHeads), layer(lessHeads)]),
    expected: { hidden_size: 64, num_attention_heads: 6, intermediate_size: 256, head_dim: 8 },
  },
  {
    title: 'a width that a null leaves at four times the hidden width',
    config: { n_embd: 64, n_head: 8, n_inner: null },
    before: sizes([layer(), layer()]),
    after: sizes([layer({ width: 128 }), layer({ width: 128 })]),
    expected: { n_embd: 64, n_head: 8, n_inner: 128 },
  },
  {
    title: 'encoder and decoder by themselves',
    config: {
      d_model: 64,
      encoder_attention_heads: 8,
      decoder_attention_heads: 8,
      encoder_ffn_dim: 256,
      decoder_ffn_dim: 256,
    },
    before: sizes([layer(), cross], { firstDecoderLayer: 1 }),
    after: sizes([layer({ width: 96 }), cross], { firstDecoderLayer: 1 }),
    expected: {
      d_model: 64,
      encoder_attention_heads: 8,
      decoder_attention_heads: 8,
      encoder_ffn_dim: 96,
      decoder_ffn_dim: 256,
    },
  },
  {
    title: 'the text model of two, not the vision model',
    config: {
      text_config: { num_attention_heads: 8, intermediate_size: 256, head_dim: 8 },
      vision_config: { num_attention_heads: 12, intermediate_size: 3072 },
    },
    before: sizes([layer()]),
    after: sizes([layer({ ...lessHeads, width: 64 })]),
    expected: {
      text_config: { num_attention_heads: 6, intermediate_size: 64, head_dim: 8 },
      vision_config: { num_attention_heads: 12, intermediate_size: 3072 },
    },
  },
  {
    title: 'sizes that a config lists layer by layer',
    config: { num_query_heads: [8, 4], num_attention_heads: 8, head_dim: 8 },
    before: sizes([layer(), layer({ heads: 4, keyValueHeads: 4 })]),
    after: sizes([layer(lessHeads), layer({ heads: 2, keyValueHeads: 2 })]),
    expected: { num_query_heads: [6, 2], num_attention_heads: 6, head_dim: 8 },
  },
  {
    title: 'experts and their width',
    config: { num_attention_heads: 8, num_local_experts: 4, intermediate_size: 256 },
    before: sizes([layer({ experts: 4 })]),
    after: sizes([layer({ experts: 3, width: 128 })]),
    expected: { num_attention_heads: 8, num_local_experts: 3, intermediate_size: 128 },
  },
  {
    title: 'layers that differ are listed, and the numbers of all stay',
    config: { num_attention_heads: 8, intermediate_size: 256, head_dim: 8 },
    before: sizes([layer(), layer()]),
    after: sizes([layer(), layer({ width: 100 })]),
    expected: {
      num_attention_heads: 8,
      intermediate_size: 256,
      head_dim: 8,
      attnc: { layers: [layer(), layer({ width: 100 })] as Json[] },
    },
  },
  {
    title: 'a size that no key states is listed too',
    config: { num_attention_heads: 8, head_dim: 8 },
    before: sizes([layer()]),
    after: sizes([layer({ valueHeadSize: 4 })]),
    expected: {
      num_attention_heads: 8,
      head_dim: 8,
      attnc: { layers: [layer({ valueHeadSize: 4 })] as Json[] },
    },
  },
  {
    title: 'genai_config.json, which gets no new keys',
    name: 'genai_config.json',
    config: {
      model: {
        vocab_size: 100,
        decoder: {
          head_size: 8,
          hidden_size: 64,
          num_attention_heads: 8,
          num_hidden_layers: 2,
          num_key_value_heads: 4,
        },
      },
    },
    before: sizes([grouped, grouped]),
    after: sizes([
      layer({ heads: 4, keyValueHeads: 2 }),
      layer({ heads: 4, keyValueHeads: 2, width: 9 }),
    ]),
    expected: {
      model: {
        vocab_size: 100,
        decoder: {
          head_size: 8,
          hidden_size: 64,
          num_attention_heads: 4,
          num_hidden_layers: 2,
          num_key_value_heads: 2,
        },
      },
    },
  },
]

describe('editConfig restates', () => {
  test.each(cases)('$title', ({ name = 'config.json', config, before, after, expected }) => {
    expect(editConfig(name, config, before, after)).toEqual(expected)
  })

  test.each(cases)('nothing where nothing changed: $title', ({ name, config, before }) => {
    expect(editConfig(name ?? 'config.json', config, before, before)).toBe(config)
  })

  test.each<[string, Json]>([
    ['other numbers', { num_attention_heads: 12, intermediate_size: 1000 }],
    ['other kinds', { num_attention_heads: '8', head_dim: null, intermediate_size: [256, 1] }],
    ['no object', [8, 'num_attention_heads']],
  ])('nothing of a config with %s', (_, config) => {
    const after = sizes([layer({ ...lessHeads, width: 10 })])
    expect(editConfig('config.json', config, sizes([layer()]), after)).toBe(config)
  })
})
