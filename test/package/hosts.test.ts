/**
 * What attnc writes is loaded by the hosts that people use, and says the same there. Neither is a dependency:
 * ATTNC_PYTHON names a Python with onnxruntime and tokenizers (else python3), ATTNC_TRANSFORMERS a folder
 * where @huggingface/transformers is installed.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { amp } from '../../passes/amp/index.js'
import { generate } from '../../src/generate/generate.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { prune } from '../../src/prune/prune.js'
import { parseTargets } from '../../src/prune/target.js'
import { example, root } from '../commands/run-command.js'

const hosts = join(root, 'examples/hosts')
const python = process.env['ATTNC_PYTHON'] ?? 'python3'
const modules = resolve(process.env['ATTNC_TRANSFORMERS'] ?? root, 'node_modules')
const hasPython =
  spawnSync(python, ['-c', 'import numpy, onnxruntime, tokenizers'], { stdio: 'ignore' }).status ===
  0
const hasTransformers = existsSync(join(modules, '@huggingface/transformers'))
const missing = [
  ...(hasPython ? [] : [`${python} has no onnxruntime and tokenizers; ATTNC_PYTHON names one`]),
  ...(hasTransformers ? [] : ['no @huggingface/transformers; ATTNC_TRANSFORMERS says where it is']),
]
for (const reason of missing) process.stderr.write(`skipped: ${reason}\n`)

describe.runIf(hasPython || hasTransformers)('a folder with fewer heads in some layers', () => {
  const place = mkdtempSync(join(tmpdir(), 'attnc-hosts-'))
  const smaller = join(place, 'smaller')
  const prompt = 'Once upon a time'
  let expected: readonly number[]

  beforeAll(async () => {
    await prune({
      source: loadModel(example),
      passes: [amp({ criterion: 'magnitude', recover: 'none' })],
      targets: parseTargets(['kv=0.7x', 'params=0.9x']),
      output: smaller,
      single: false,
      log: silentLog,
    })
    const source = loadModel(smaller)
    const said = await generate({ source, prompt, maxTokens: 24, log: silentLog })
    expected = said.tokens
  })
  afterAll(() => rmSync(place, { recursive: true, force: true }))

  const idsOf = (text: string): unknown => (JSON.parse(text) as { ids: unknown }).ids

  it.runIf(hasPython)('says the same in Python', () => {
    const argv = [join(hosts, 'generate.py'), smaller, prompt, '24']
    expect(idsOf(execFileSync(python, argv, { encoding: 'utf8' }))).toEqual(expected)
  })

  it.runIf(hasTransformers)('says the same in transformers.js, offline', () => {
    cpSync(join(hosts, 'transformers.mjs'), join(place, 'transformers.mjs'))
    symlinkSync(modules, join(place, 'node_modules'))
    const argv = [join(place, 'transformers.mjs'), smaller, prompt, '24']
    expect(idsOf(execFileSync(process.execPath, argv, { encoding: 'utf8' }))).toEqual(expected)
  })
})
