/** Tokens that go: from graphs, tokenizer and configs, and what stands in the way. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import Eval from '../../commands/eval.js'
import Prune from '../../commands/prune.js'
import Verify from '../../commands/verify.js'
import { vocabulary } from '../../passes/vocabulary/index.js'
import type { PruneJson } from '../../src/cli/run-prune.js'
import { loadTokenizer } from '../../src/data/tokenizer.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { choosePasses } from '../../src/prune/choose-passes.js'
import { runBatches } from '../../src/runtime/batches.js'
import { findVocabulary } from '../../src/vocabulary/find-vocabulary.js'
import { build } from '../axes/builder.js'
import { example, runCommand, runJson } from '../commands/run-command.js'
import { sharedModel } from '../shared-models.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-vocabulary-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** The first stories: fewer tokens than the tokenizer has. */
const shortText = (): string => {
  const path = join(folder, 'short.txt')
  writeFileSync(path, readFileSync(join(example, 'calibration.txt'), 'utf8').slice(0, 12_000))
  return path
}
const reading = ['--sequence-length', '32', '--provider', 'cpu']

const logitsOf = async (path: string, ids: readonly number[]): Promise<ArrayLike<number>> => {
  const dims = [1, ids.length]
  const feeds = {
    input_ids: tensorOf('int64', dims, ids),
    attention_mask: tensorOf(
      'int64',
      dims,
      ids.map(() => 1),
    ),
  }
  const found: ArrayLike<number>[] = []
  await runBatches(loadModel(path).model, [{ feeds }], { log: silentLog }, undefined, (results) => {
    found.push(numbersOf(Object.values(results)[0] as RuntimeTensor))
  })
  return found[0] as ArrayLike<number>
}

describe('prune --pass vocabulary', () => {
  test('gives the tokens that stay the scores they had, and verifies', {
    timeout: 60_000,
  }, async () => {
    const text = shortText()
    const output = join(folder, 'fewer')
    const argv = [example, '--pass', 'vocabulary', '--data', text, ...reading, '-o', output]
    const { json } = await runJson<PruneJson>(Prune, [...argv, '--eval', text])
    expect(json.check?.largest).toBe(0)
    const [row] = json.rows
    expect(row).toMatchObject({ dimension: 'vocabulary', size: 2048 })
    const { kept = 0 } = row ?? {}
    expect(kept).toBeLessThan(1500)
    expect(json.after.parameters).toBe(json.before.parameters - (2048 - kept) * 192)
    const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'))
    expect(config).toMatchObject({ vocab_size: kept, bos_token_id: 0 })
    const [before, after] = [loadTokenizer(example), loadTokenizer(output)]
    const story = readFileSync(text, 'utf8').slice(0, 2000)
    const [old, now] = [before.encode(story), after.encode(story)]
    expect(now).toHaveLength(old.length)
    expect(after.decode(now)).toBe(story)
    const odd = 'Zürich 日本語 🙂'
    expect(after.decode(after.encode(odd))).toBe(odd)
    const [dense, cut] = [
      await logitsOf(example, old.slice(0, 16)),
      await logitsOf(output, now.slice(0, 16)),
    ]
    // What stays is known from the tokenizers themselves.
    for (const [place, id] of now.entries())
      for (const at of [0, 15])
        expect(cut[at * kept + id]).toBe(dense[at * 2048 + (old[place] as number)])
    const verified = await runCommand(Verify, [output, '--against', example])
    expect(verified.exitCode).toBe(0)
    const { json: measured } = await runJson<{ value: number }>(Eval, [
      output,
      '--data',
      text,
      ...reading,
    ])
    const [metric] = json.metrics
    expect(metric?.value).toBeCloseTo(metric?.before ?? 0, 4)
    expect(measured.value).toBeCloseTo(metric?.value ?? 0, 2)
  })

  test('goes before fewer bits, in one command', { timeout: 60_000 }, async () => {
    const output = join(folder, 'both')
    const passes = ['--pass', 'vocabulary', '--coverage', '0.95', '--pass', 'quantize']
    const argv = [example, ...passes, '--data', shortText(), '--samples', '8', ...reading]
    const { json } = await runJson<PruneJson>(Prune, [...argv, '-o', output])
    expect(json.after.bytes).toBeLessThan(0.22 * json.before.bytes)
    expect(json.check?.largest).toBeLessThan(1e-4)
    expect((await runCommand(Verify, [output])).exitCode).toBe(0)
  })
})

describe('is refused', () => {
  const view = readModel(loadModel(example).model.graph)
  const data = ['--data', join(example, 'calibration.txt'), '--samples', '2', '--dry-run']

  test.each([
    ['before a pass that cuts', ['vocabulary', 'amp'], 'PASS_ORDER'],
    ['after fewer bits', ['quantize', 'vocabulary'], 'PASS_ORDER'],
  ])('%s', (_, names, code) => {
    expect(() => choosePasses(names, {}, view)).toThrow(expect.objectContaining({ code }))
  })

  test('without data, before any work', () => {
    expect(() => vocabulary().check?.({ view, batches: undefined, canCalibrate: false })).toThrow(
      expect.objectContaining({ code: 'NO_DATA' }),
    )
  })

  test('without a tokenizer to rewrite', async () => {
    const bare = join(folder, 'bare')
    cpSync(example, bare, { recursive: true })
    rmSync(join(bare, 'tokenizer.json'))
    const { error } = await runCommand(Prune, [
      bare,
      '--pass',
      'vocabulary',
      '--data',
      'random',
      '--dry-run',
    ])
    expect(error).toMatchObject({ code: 'NO_TOKENIZER' })
  })

  test('where the evaluation has nothing but tokens that go', async () => {
    const argv = [example, '--pass', 'vocabulary', ...data, '--coverage', '0.2', '--eval']
    const { error } = await runCommand(Prune, [
      ...argv,
      join(example, 'eval.txt'),
      '--eval-samples',
      '2',
    ])
    expect(error).toMatchObject({ code: 'VOCABULARY_UNSEEN' })
  })

  test('where something looks at the ids themselves', () => {
    const model = build((b) => {
      const ids = b.op('Cast', [b.input('x', ['n', 8])], { to: 7 })
      const isLast = b.op('Cast', [b.op('Equal', [ids, b.whole(3)])], { to: 1 })
      const found = b.op('Gather', [b.weight(64, 16), ids])
      return b.linear(b.op('Mul', [found, b.op('Unsqueeze', [isLast, b.integers(2)])]), 16, 4)
    })
    expect(findVocabulary(readModel(model.graph))).toMatch('(Equal) looks at the ids')
  })
})

const zoo = ['t5-dyn', 'bert-fused', 'gemma2-past-dyn', 'bert-nbits', 'llama-gqa'] as const
const present = zoo.filter((name) => sharedModel(`zoo/${name}`) !== undefined)

describe.skipIf(present.length === 0)('a cut vocabulary in the zoo (skipped where absent)', () => {
  test.each(present)('of %s equals the model asked in old numbers', async (name) => {
    const path = sharedModel(`zoo/${name}`) as string
    const keep = Array.from({ length: 128 }, (_, id) => id).filter((id) => id % 3 !== 1)
    const { check, before, after } = await applyToFolder({
      source: loadModel(path),
      plan: { parts: [{ slices: [], vocabulary: { size: 128, keep } }] },
      output: undefined,
      single: true,
      log: silentLog,
    })
    expect(check?.largest).toBeLessThan(1e-6)
    expect(after.parameters).toBeLessThan(before.parameters)
    expect(existsSync(join(path, 'plan.json'))).toBe(false)
  })
})
