/** Decoders that hold both of their ways in one If, from a folder to a smaller one: every pass, proved and verified. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { amp } from '../../passes/amp/index.js'
import { lighten } from '../../passes/lighten/index.js'
import { quantize } from '../../passes/quantize/index.js'
import { recover } from '../../passes/recover/index.js'
import { sparsify } from '../../passes/sparsify/index.js'
import { vocabulary } from '../../passes/vocabulary/index.js'
import { vtrans } from '../../passes/vtrans/index.js'
import { findContinuation } from '../../src/data/continued.js'
import { portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import { edit } from '../../src/graph/edit.js'
import type { Model } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf } from '../../src/onnx/numbers.js'
import { float32Tensor, int64Tensor } from '../../src/onnx/tensor.js'
import type { ChosenPass } from '../../src/plan/pass.js'
import { checkSlice } from '../../src/prune/check.js'
import { prune } from '../../src/prune/prune.js'
import { verify } from '../../src/verify/verify.js'
import { wordTokenizer } from '../data/word-tokenizer.js'
import { type MergedOptions, mergedDecoder, VOCABULARY } from '../graph/merged-decoder.js'
import { bytesOf } from '../zoo/compare.js'

const root = mkdtempSync(join(tmpdir(), 'attnc-merged-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const words = Object.fromEntries(Array.from({ length: VOCABULARY }, (_, id) => [`w${id}`, id]))

/** A folder as hosts have it: an encoder beside the decoder, where there is one. */
function folderOf(name: string, options: MergedOptions): string {
  const folder = join(root, name)
  if (existsSync(folder)) return folder
  mkdirSync(folder)
  writeFileSync(join(folder, 'decoder_model_merged.onnx'), bytesOf(mergedDecoder(options)))
  writeFileSync(join(folder, 'tokenizer.json'), wordTokenizer(words, 'w0'))
  return folder
}

const decoder: MergedOptions = { heads: 4, size: 8, width: 48 }
const kinds: Readonly<Record<string, MergedOptions>> = {
  decoder,
  swapped: { ...decoder, cacheIn: 'else', weights: 'in both' },
  encoded: { ...decoder, hasEncoder: true },
}

const batchesOf = (model: Model, sequenceLength = 12) =>
  randomBatches({
    inputs: portsOf(model),
    sequenceLength,
    batchSize: 4,
    samples: 12,
    vocabulary: VOCABULARY - 2,
    seed: 3,
  })

/** Pruned, written, verified; what the checks that were made say. */
async function through(name: string, options: MergedOptions, passes: readonly ChosenPass[]) {
  const from = folderOf(name, options)
  const source = loadModel(from)
  const batches = batchesOf(source.model)
  const output = mkdtempSync(join(root, 'out-'))
  const result = await prune({
    source,
    passes,
    batches,
    output,
    force: true,
    single: false,
    log: silentLog,
    threads: 1,
  })
  const checked = await verify({ path: output, against: from, log: silentLog, threads: 1 })
  return { result, checks: checked.report().checks }
}

const passes: Readonly<Record<string, () => readonly ChosenPass[]>> = {
  amp: () => [amp({ ratio: 0.3 })],
  vtrans: () => [vtrans({ ratio: 0.2, variant: 'faster', updates: 4 })],
  'amp and recover': () => [amp({ ratio: 0.2 }), recover({ method: 'lora', updates: 3 })],
  quantize: () => [quantize({})],
  integers: () => [quantize({ precision: 'qdq' })],
  'half precision': () => [quantize({ precision: 'float16' })],
  lighten: () => [lighten()],
  sparsify: () => [sparsify({ pattern: 'window:4+sinks:1' })],
  vocabulary: () => [vocabulary({})],
}

describe.each(Object.entries(kinds))('a merged decoder, %s', (name, options) => {
  // Without ids as data there is no text that says which tokens stay.
  const able = Object.entries(passes).filter(
    ([pass]) => !options.hasEncoder || pass !== 'vocabulary',
  )

  it.each(able)('goes through %s in both branches', { timeout: 120_000 }, async (_, make) => {
    const { result, checks } = await through(name, options, make())
    expect(result.check?.hasBranches).toBe(true)
    expect(checks.filter(({ result: each }) => each === 'failed')).toEqual([])
    const said = (check: string) => checks.find((each) => each.check === check)
    expect(said('runs')?.detail).toContain('with its cache and without')
    if (!options.hasEncoder) expect(said('generates')?.result).toBe('passed')
  })
})

describe('the proof', () => {
  const load = (options: MergedOptions): Model => loadModel(folderOf('proof', options)).model

  it('runs the branch with a cache on what the other left', () => {
    const model = load(decoder)
    const [batch] = batchesOf(model, 5)
    const goOn = findContinuation(model)
    if (!batch || !goOn) throw new Error('the decoder has one way')
    const { input_ids: ids, use_cache_branch: choice } = goOn.before(batch).feeds
    expect(ids?.dims).toEqual([4, 4])
    expect(choice && [...numbersOf(choice)]).toEqual([0])
    const results = { 'present.0.decoder.key': { ...ids, dims: [4, 4, 4, 8] } as never }
    const after = goOn.after(batch, results).feeds
    expect(after['input_ids']?.dims).toEqual([4, 1])
    expect(after['past.0.decoder.key']?.dims).toEqual([4, 4, 4, 8])
    expect(after['use_cache_branch'] && [...numbersOf(after['use_cache_branch'])]).toEqual([1])
  })

  it('finds out a weight that is wrong in that branch alone', async () => {
    const [masked, sliced] = [load(decoder), load(decoder)]
    const batches = batchesOf(sliced, 5)
    const settings = { log: silentLog, threads: 1 }
    expect((await checkSlice(sliced, masked, batches, settings)).largest).toBe(0)
    const block = readModel(sliced.graph).feedForward[0]
    const weight = block?.outputProjection.node.inputs[1]
    const again = [...(weight?.uses ?? [])].find(({ node }) => node.branch?.isAgain)
    if (!weight?.constant || !again) throw new Error('the branches share no weight')
    const { dims } = weight.constant
    edit(sliced.graph, 'wrong', (change) => {
      const zeros = float32Tensor(dims, new Array<number>(dims.reduce((a, b) => a * b, 1)).fill(0))
      change.setInput(again.node, again.index, change.constant(zeros))
    })
    await expect(checkSlice(sliced, masked, batches, settings)).rejects.toMatchObject({
      code: 'NUMERIC_CHECK',
    })
  })

  it('says that a branch can not be run, and what to do then', async () => {
    const [masked, sliced] = [load(decoder), load(decoder)]
    for (const model of [masked, sliced]) {
      const node = [...model.graph.nodes()].find(
        ({ op, branch }) => op === 'Gather' && branch?.isAgain,
      )
      const ids = node?.inputs[1]
      if (!node || !ids) throw new Error('there is no table')
      edit(model.graph, 'wrong', (change) => {
        const far = change.constant(int64Tensor([], [1000]))
        change.setInput(node, 1, change.add('Add', [ids, far], { before: node }))
      })
    }
    await expect(
      checkSlice(sliced, masked, batchesOf(masked, 5), { log: silentLog, threads: 1 }),
    ).rejects.toMatchObject({ code: 'BRANCH_NOT_RUN' })
  })
})

it('a folder with an encoder and a merged decoder means the decoder', () => {
  const folder = folderOf('both', kinds['encoded'] as MergedOptions)
  writeFileSync(join(folder, 'encoder_model.onnx'), bytesOf(mergedDecoder({ layers: 1 })))
  expect(loadModel(folder).file).toBe('decoder_model_merged.onnx')
})

it('random inputs beside a switch have empty caches, and a switch that says so', () => {
  for (const [cacheIn, stated] of [
    ['then', 0],
    ['else', 1],
  ] as const) {
    const model = loadModel(folderOf(`random-${cacheIn}`, { cacheIn, hasEncoder: true })).model
    const [batch] = batchesOf(model)
    expect(batch?.feeds['past.0.encoder.value']?.dims).toEqual([4, 3, 0, 4])
    const choice = batch?.feeds['use_cache_branch']
    expect(choice && [...numbersOf(choice)]).toEqual([stated])
  }
})
