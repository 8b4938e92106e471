/** `attnc generate` behind its flags. */
import { AttncError } from '../errors.js'
import { type Generated, generate } from '../generate/generate.js'
import { loadModel } from '../model-folder/load.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import type { CommandContext } from './command-context.js'

export interface GenerateFlags {
  readonly prompt: string
  readonly 'max-tokens': number
  readonly temperature?: string | undefined
  readonly 'top-k'?: number | undefined
  readonly 'top-p'?: string | undefined
  readonly cache: boolean
  readonly seed: number
  readonly provider: 'auto' | ProviderName
}

export interface GenerateJson extends Generated {
  readonly format: 1
  readonly provider: ProviderName
}

export async function runGenerate(
  path: string,
  flags: GenerateFlags,
  context: CommandContext,
  onText: (piece: string) => void,
): Promise<{ readonly json: GenerateJson; readonly summary: string }> {
  const sampling = {
    temperature: readNumber('temperature', flags.temperature),
    topP: readNumber('top-p', flags['top-p']),
    topK: flags['top-k'],
    seed: flags.seed,
  }
  const source = loadModel(path)
  const { name: provider } = await chooseProvider(flags.provider)
  const found = await generate({
    ...context,
    ...sampling,
    source,
    provider,
    prompt: flags.prompt,
    maxTokens: flags['max-tokens'],
    cache: flags.cache,
    single: isSingle(path),
    onText,
  })
  const speed = found.tokensPerSecond ? `${found.tokensPerSecond.toFixed(1)} tokens/s, ` : ''
  const summary = `${found.tokens.length} tokens, ${speed}${found.promptMs.toFixed(0)} ms for a prompt of ${found.promptTokens} · ${found.file} ${found.usesCache ? 'with its cache' : 'without a cache'} on ${provider}`
  return { json: { format: 1, provider, ...found }, summary }
}

function readNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value)) return value
  throw new AttncError('NUMBER_FORMAT', 'usage', `--${name} is "${text}", which is no number.`)
}
