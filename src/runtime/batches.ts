/** A model in memory run over batches: written to a temporary file, opened, fed, cleaned up. */
import type { Model } from '../graph/graph.js'
import type { Log } from '../log.js'
import { type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { materialiseFor } from './held-caches.js'
import type { ProviderName } from './provider.js'
import { openSession, type SessionOptions } from './session.js'

/** Where a model runs, and who hears of it. */
export interface RunOptions {
  readonly provider?: ProviderName | undefined
  readonly threads?: number | undefined
  /** ONNX Runtime's own rewriting of the graph; all of it by default. */
  readonly optimization?: SessionOptions['optimization']
  readonly log: Log
  readonly signal?: AbortSignal | undefined
}

/** Feeds by input name; `tokenMask` goes to `attnc.tokenMask` where the graph has that input. */
export interface Feedable {
  readonly feeds: Readonly<Record<string, RuntimeTensor>>
  readonly tokenMask?: RuntimeTensor | undefined
  /** The same of further inputs of tokens, by name. */
  readonly tokenMasks?: Readonly<Record<string, RuntimeTensor>> | undefined
}

/** Input that tells real tokens from padding, in graphs that attnc extended. */
export const TOKEN_MASK = 'attnc.tokenMask'

/** The input that masks the tokens of an input: `TOKEN_MASK` for the first. */
export const maskNameOf = ({ input, isFirst }: { input: string; isFirst: boolean }): string =>
  isFirst ? TOKEN_MASK : `${TOKEN_MASK}.${input}`

/** What is fed to a mask. Where data says nothing of padding, every token is real. */
export function tokenMaskOf(
  { tokenMask, tokenMasks, feeds }: Feedable,
  name = TOKEN_MASK,
): RuntimeTensor | undefined {
  const input = name === TOKEN_MASK ? undefined : name.slice(TOKEN_MASK.length + 1)
  const known = input === undefined ? tokenMask : tokenMasks?.[input]
  if (known) return known
  const isIds = ({ dims, dataType }: RuntimeTensor): boolean =>
    dims.length === 2 && dataType.startsWith('int')
  const ids = input === undefined ? Object.values(feeds).find(isIds) : feeds[input]
  return ids && tensorOf('float32', ids.dims, new Float32Array(ids.data.length).fill(1))
}

/**
 * Calls `take` with the results of each batch, in order; `extra` adds feeds of one batch. The next batch
 * runs while `take` works.
 */
export async function runBatches<Batch extends Feedable>(
  model: Model,
  batches: readonly Batch[],
  options: RunOptions,
  step: string | undefined,
  take: (
    results: Record<string, RuntimeTensor>,
    batch: Batch,
    index: number,
  ) => void | Promise<void>,
  extra: (batch: Batch, index: number) => Record<string, RuntimeTensor | undefined> = () => ({}),
): Promise<void> {
  const { provider = 'cpu', threads, signal, log } = options
  const wanted = model.graph.outputs.map(({ name }) => name)
  const file = materialiseFor(model, provider)
  try {
    await using session = await openSession({
      path: file.path,
      provider,
      threads,
      signal,
      optimization: options.optimization,
      // What is done with the results would wait for threads that spin.
      takesTurns: true,
    })
    const ports = new Map(session.inputs.map((port) => [port.name, port]))
    const start = (index: number): Promise<Record<string, RuntimeTensor>> | undefined => {
      const batch = batches[index]
      if (!batch) return undefined
      const masks = [...ports.keys()].filter((name) => name.startsWith(TOKEN_MASK))
      const all = {
        ...batch.feeds,
        ...Object.fromEntries(masks.map((name) => [name, tokenMaskOf(batch, name)])),
        ...extra(batch, index),
      }
      const feeds: Record<string, RuntimeTensor> = {}
      for (const [name, tensor] of Object.entries(all)) {
        const port = ports.get(name)
        if (tensor && port) feeds[name] = fitEmpty(tensor, port)
      }
      const running = session.run(feeds, wanted)
      // Awaited below, unless `take` fails before.
      running.catch(() => undefined)
      return running
    }
    let running = start(0)
    for (const [index, batch] of batches.entries()) {
      signal?.throwIfAborted()
      const results = (await running) as Record<string, RuntimeTensor>
      running = start(index + 1)
      await take(results, batch, index)
      if (step) log.progress(step, index + 1, batches.length)
    }
  } finally {
    file.dispose()
  }
}

/** A cache that is still empty has the heads of the model that reads it: fewer where some were removed. */
export function fitEmpty(
  tensor: RuntimeTensor,
  port: { readonly dims: readonly (number | string | undefined)[] },
): RuntimeTensor {
  if (tensor.data.length > 0 || tensor.dims.length !== port.dims.length) return tensor
  const dims = tensor.dims.map((dim, axis) => {
    const stated = port.dims[axis]
    return dim > 0 && typeof stated === 'number' && stated > 0 ? stated : dim
  })
  return { ...tensor, dims }
}
