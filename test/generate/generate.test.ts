/** Text continued: choices are seeded, ends are ends, and what can't work is said before it starts. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type GenerateOptions, generate } from '../../src/generate/generate.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { sharedModel } from '../shared-models.js'

const stories = sharedModel('tiny-stories')

describe.skipIf(!stories)('a model of small stories', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'attnc-generate-'))
    cpSync(stories as string, folder, { recursive: true })
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const say = (options: Partial<GenerateOptions> = {}) =>
    generate({
      source: loadModel(folder),
      prompt: 'Once upon a time',
      maxTokens: 24,
      threads: 1,
      log: silentLog,
      ...options,
    })

  test('is continued by the model of its folder that has a cache, as without one', async () => {
    const pieces: string[] = []
    const cached = await say({ onText: (piece) => pieces.push(piece) })
    const whole = await say({ cache: false })
    expect(cached).toMatchObject({
      file: 'model_with_past.onnx',
      usesCache: true,
      stopped: 'length',
    })
    expect(whole).toMatchObject({ file: 'model.onnx', usesCache: false })
    expect(cached.tokens).toEqual(whole.tokens)
    expect(pieces.join('')).toBe(cached.text)
    expect(cached.text).toMatch(/^, there was a little/)
  })

  test('draws the same text from the same seed, and another from another', async () => {
    const drawn = (seed: number) => say({ temperature: 1, topK: 50, topP: 0.95, seed })
    const [one, again, other] = [await drawn(1), await drawn(1), await drawn(2)]
    expect(again.text).toBe(one.text)
    expect(other.text).not.toBe(one.text)
  })

  test('stops at an end token of generation_config.json, which is not part of the text', async () => {
    const whole = await say()
    const end = whole.tokens[5] as number
    const path = join(folder, 'generation_config.json')
    writeFileSync(path, JSON.stringify({ eos_token_id: [end, 0] }))
    const cut = await say()
    rmSync(path)
    expect(cut.stopped).toBe('end')
    expect(cut.tokens).toEqual(whole.tokens.slice(0, whole.tokens.indexOf(end)))
  })

  test('stops where its positions end', async () => {
    const path = join(folder, 'config.json')
    const config = readFileSync(path, 'utf8')
    writeFileSync(path, JSON.stringify({ ...JSON.parse(config), max_position_embeddings: 10 }))
    const short = await say()
    writeFileSync(path, config)
    expect(short.stopped).toBe('context')
    expect(short.promptTokens + short.tokens.length).toBe(11)
  })

  test.each([
    ['PROMPT_EMPTY', { prompt: '' }],
    ['SAMPLING_RANGE', { topP: 2 }],
    ['SAMPLING_RANGE', { temperature: -1 }],
    ['CONTEXT_FULL', { prompt: 'and then '.repeat(300) }],
  ])('%s names what is wrong with %j', async (code, options) => {
    await expect(say(options)).rejects.toMatchObject({ code, oclif: { exit: 2 } })
  })

  test('needs a tokenizer', async () => {
    const path = join(folder, 'tokenizer.json')
    const tokenizer = readFileSync(path)
    rmSync(path)
    await expect(say()).rejects.toMatchObject({ code: 'NO_TOKENIZER' })
    writeFileSync(path, tokenizer)
  })

  test('an abort ends it', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const running = say({ signal: controller.signal, onText: () => controller.abort(reason) })
    await expect(running).rejects.toBe(reason)
  })
})
