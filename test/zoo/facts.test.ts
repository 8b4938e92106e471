/** What inspect reads in every model of the zoo against the facts its makers wrote beside it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { inspect } from '../../src/inspect/inspect.js'
import { loadModel } from '../../src/model-folder/load.js'
import { modelsIn, zooFolder } from './compare.js'

interface Facts {
  readonly layers: number
  readonly attention_blocks: readonly {
    readonly kind: string
    readonly causal: boolean
    readonly heads: number
    readonly kv_heads: number
    readonly head_size: number
    readonly value_head_size?: number
    readonly window?: number | null
  }[]
  readonly feed_forward: readonly {
    readonly width: number
    readonly gated: boolean
    readonly experts?: number | null
  }[]
  readonly hidden: number | readonly number[]
  readonly moe: { readonly experts: number; readonly top_k: number } | null
  readonly parameters: number
}

const models = modelsIn(zooFolder)
const title = `inspect on the zoo (skipped where ${zooFolder} is absent)`

describe.skipIf(models.length === 0)(title, { timeout: 60_000 }, () => {
  it.each(models)('reads %s as its makers describe it', async (name) => {
    const folder = join(zooFolder, name)
    const facts = JSON.parse(readFileSync(join(folder, 'facts.json'), 'utf8')) as Facts
    const seen = await inspect(loadModel(folder).model)
    expect({
      layers: seen.layers,
      attention: seen.attention.map((block) => ({
        kind: block.kind,
        causal: block.causal,
        heads: block.heads,
        keyValueHeads: block.keyValueHeads,
        headSize: block.headSize,
        valueHeadSize: block.valueHeadSize,
        window: block.window ?? null,
      })),
      feedForward: seen.feedForward.map(({ width, gated, experts }) => ({
        width,
        gated,
        experts: experts?.count ?? null,
      })),
      hidden: seen.hidden,
      experts: seen.experts && { count: seen.experts.count, perToken: seen.experts.perToken },
      parameters: seen.parameters,
    }).toEqual({
      layers: facts.layers,
      attention: facts.attention_blocks.map((block) => ({
        kind: block.kind,
        causal: block.causal,
        heads: block.heads,
        keyValueHeads: block.kv_heads,
        headSize: block.head_size,
        valueHeadSize: block.value_head_size ?? block.head_size,
        window: block.window ?? null,
      })),
      feedForward: facts.feed_forward.map(({ width, gated, experts }) => ({
        width,
        gated,
        experts: experts ?? null,
      })),
      hidden: facts.hidden,
      experts: facts.moe && { count: facts.moe.experts, perToken: facts.moe.top_k },
      parameters: facts.parameters,
    })
  })
})
