/** Decoding measured: a prompt goes into the cache, then tokens are said one by one; only these count. */
import { chooseGenerator, hasCache } from '../generate/choose-model.js'
import { type Decoder, openDecoder } from '../generate/decoder.js'
import { readHostConfig } from '../generate/host-config.js'
import { readLanguagePorts } from '../generate/language-ports.js'
import { bestOf } from '../generate/sample.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { interleave, type Pace } from './interleave.js'

export interface DecodeOptions extends RunOptions {
  readonly pace: Pace
  /** Ids that fill the cache; cut to what the model's positions leave room for. */
  readonly prompt: readonly number[]
  /** Tokens of one turn; 0 measures nothing. */
  readonly tokens: number
  readonly single?: boolean | undefined
}

export interface DecodeTimes {
  /** Mean milliseconds a token of every turn. */
  readonly times: readonly number[]
  /** The model that has the cache, relative to its folder. */
  readonly file: string
}

/** One entry a model, undefined where it has no cache. */
export async function benchDecode(
  models: readonly LoadedModel[],
  options: DecodeOptions,
): Promise<(DecodeTimes | undefined)[]> {
  const { tokens, single = false, provider, threads, signal, log } = options
  if (tokens === 0 || options.prompt.length === 0) return models.map(() => undefined)
  const chosen = models.map((source) => chooseGenerator(source, single))
  const able = chosen.filter((source) => hasCache(source))
  const room = Math.min(
    ...able.map(({ folder }) => readHostConfig(folder).positions ?? Number.POSITIVE_INFINITY),
  )
  const prompt = options.prompt.slice(0, Math.max(1, room - tokens))
  const decoders: Decoder[] = []
  try {
    for (const { model, path } of able) {
      const ports = readLanguagePorts(model)
      const takesTurns = able.length > 1
      decoders.push(await openDecoder({ ports, path, provider, threads, takesTurns, signal }))
    }
    const onTurn = (done: number, total: number): void =>
      log.progress('measuring decode', done, total)
    const times = await interleave(
      decoders.map((decoder) => () => sayTokens(decoder, prompt, tokens)),
      { ...options.pace, onTurn },
    )
    log.progress('measuring decode', 1, 1)
    return chosen.map((source) => {
      const index = able.indexOf(source)
      return index < 0 ? undefined : { times: times[index] ?? [], file: source.file }
    })
  } finally {
    for (const decoder of decoders) await decoder.close()
  }
}

/** Mean milliseconds of a token after the prompt. */
async function sayTokens(
  decoder: Decoder,
  prompt: readonly number[],
  count: number,
): Promise<number> {
  decoder.restart()
  let token = bestOf(await decoder.next(prompt))
  let totalMs = 0
  for (let said = 0; said < count; said++) {
    token = bestOf(await decoder.next([token]))
    totalMs += decoder.lastRunMs
  }
  return totalMs / count
}
