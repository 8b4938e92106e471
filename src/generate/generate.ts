/** Text continued by a language model, token by token, with its cache where it has one. */
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { AttncError } from '../errors.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { chooseGenerator } from './choose-model.js'
import { type Decoder, openDecoder } from './decoder.js'
import { type HostConfig, readHostConfig } from './host-config.js'
import { readLanguagePorts } from './language-ports.js'
import { makeSampler, type Sampler, type SamplingOptions } from './sample.js'
import { TextStream } from './text-stream.js'

/** What is continued, by what, and how tokens are drawn. */
export interface GenerateOptions extends RunOptions, SamplingOptions {
  readonly source: LoadedModel
  readonly prompt: string
  /** Default 128. */
  readonly maxTokens?: number | undefined
  /** Off: everything runs again for every token. Default on. */
  readonly cache?: boolean | undefined
  /** Only this file, though its folder has one with a cache. */
  readonly single?: boolean | undefined
  /** Each piece of text as soon as it is complete. */
  readonly onText?: ((piece: string) => void) | undefined
}

/** The text that was made, and how fast. */
export interface Generated {
  readonly text: string
  readonly tokens: readonly number[]
  readonly promptTokens: number
  /** An end token, `maxTokens`, or what the model's positions allow. */
  readonly stopped: 'end' | 'length' | 'context'
  /** The model's file, relative to its folder. */
  readonly file: string
  readonly usesCache: boolean
  /** Until the first token. */
  readonly promptMs: number
  /** Of the tokens after the first; null where there is none. */
  readonly tokensPerSecond: number | null
}

/** Errors: PROMPT_EMPTY, TOKENIZER_MISMATCH, CONTEXT_FULL, NOT_A_NUMBER; of tokenizers, ports, sessions. */
export async function generate(options: GenerateOptions): Promise<Generated> {
  const { signal, maxTokens = 128, onText } = options
  const source = chooseGenerator(options.source, options.single === true || options.cache === false)
  const sampler = makeSampler(options)
  const config = readHostConfig(source.folder)
  const ports = readLanguagePorts(source.model)
  const tokenizer = loadTokenizer(source.folder)
  const prompt = encodePrompt(tokenizer, options.prompt)
  await using decoder = await openDecoder({ ...options, ports, path: source.path })
  const start = decoder.hasEncoder ? [decoderStart(config)] : prompt
  decoder.restart(prompt)
  const room = Math.min(
    config.positions ?? Number.POSITIVE_INFINITY,
    decoder.limit ?? Number.POSITIVE_INFINITY,
  )
  if (start.length >= room) throw contextFull(start.length, room)
  const stream = new TextStream(tokenizer, decoder.hasEncoder ? [] : prompt)
  const tokens: number[] = []
  const times: number[] = []
  let stopped: Generated['stopped'] = 'length'
  let fed: readonly number[] = start
  while (tokens.length < maxTokens) {
    if (start.length + tokens.length > room) {
      stopped = 'context'
      break
    }
    signal?.throwIfAborted()
    const began = performance.now()
    const token = await nextToken(decoder, fed, sampler, prompt)
    times.push(performance.now() - began)
    if (config.stop.has(token)) {
      stopped = 'end'
      break
    }
    tokens.push(token)
    const piece = stream.add(token)
    onText?.(piece)
    fed = [token]
  }
  const rest = stream.end()
  onText?.(rest)
  const [promptMs = 0, ...later] = times
  const laterMs = later.reduce((sum, ms) => sum + ms, 0)
  return {
    text: stream.text,
    tokens,
    promptTokens: prompt.length,
    stopped,
    file: source.file,
    usesCache: decoder.usesCache,
    promptMs,
    tokensPerSecond: later.length > 0 ? (1000 * later.length) / laterMs : null,
  }
}

async function nextToken(
  decoder: Decoder,
  fed: readonly number[],
  sampler: Sampler,
  prompt: readonly number[],
): Promise<number> {
  const scores = await decoder.next(fed)
  const largest = prompt.reduce((top, id) => Math.max(top, id), 0)
  if (largest >= scores.length)
    throw new AttncError(
      'TOKENIZER_MISMATCH',
      'usage',
      `The prompt has token ${largest}; the model scores ${scores.length} tokens.`,
      {
        suggestions: [
          'Put the tokenizer that belongs to the model into its folder, and give the export with the language head.',
        ],
      },
    )
  return sampler(scores)
}

function encodePrompt(tokenizer: Tokenizer, prompt: string): number[] {
  const ids = prompt === '' ? [] : tokenizer.encode(prompt, true)
  if (ids.length > 0) return ids
  throw new AttncError(
    'PROMPT_EMPTY',
    'usage',
    'The prompt is empty; there is nothing to continue.',
    {
      suggestions: ['Give a few words with --prompt "Once upon a time".'],
    },
  )
}

function decoderStart({ decoderStart: id }: HostConfig): number {
  if (id !== undefined) return id
  throw new AttncError(
    'NO_DECODER_START',
    'usage',
    'The model has an encoder, and no config says with which token its decoder starts.',
    { suggestions: ['State "decoder_start_token_id" in config.json beside the model.'] },
  )
}

const contextFull = (length: number, room: number): AttncError =>
  new AttncError(
    'CONTEXT_FULL',
    'usage',
    `The prompt has ${length} tokens; the model holds ${room}, and one has to be left.`,
    { suggestions: ['Give a shorter prompt.'] },
  )
