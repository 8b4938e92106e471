/**
 * A session of onnxruntime-node in a thread of its own, since it blocks the thread that calls it. An abort
 * rejects at once; the thread ends when ONNX Runtime comes back, since ending it inside would take the
 * process with it.
 */
import { Worker } from 'node:worker_threads'
import { AttncError } from '../errors.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { checkFeeds } from './check-feeds.js'
import { explainFailure } from './failure.js'
import type { ProviderName } from './provider.js'
import { explainRefusal } from './refusal.js'
import type { Feeds, Session, SessionOptions } from './session.js'
import { sourceLoader } from './source-loader.js'
import { keepRuntimeSilent } from './telemetry.js'
import type { Port, Reply, Request } from './worker.js'

/** Opens a session. Errors: SESSION_REFUSED, PROVIDER_FAILED; the signal's reason when aborted. */
export async function openThreadSession(options: SessionOptions): Promise<Session> {
  options.signal?.throwIfAborted()
  const provider = options.provider ?? 'cpu'
  const channel = new Channel(options.signal)
  try {
    const settings = sessionOptions(provider, options)
    const opened = await channel.ask({ kind: 'open', path: options.path, options: settings })
    if (!('inputs' in opened)) throw new TypeError('the session did not open')
    return new ThreadSession(channel, provider, opened.inputs, opened.outputs)
  } catch (error) {
    await channel.end()
    throw explainRefusal(error, options, provider)
  }
}

function sessionOptions(provider: ProviderName, options: SessionOptions): object {
  return {
    executionProviders: [provider],
    graphOptimizationLevel: options.optimization ?? 'all',
    logSeverityLevel: options.quiet === false ? 3 : 4,
    enableMemPattern: !options.sparing,
    ...(options.threads ? { intraOpNumThreads: options.threads, interOpNumThreads: 1 } : {}),
    extra: {
      session: {
        ...(options.prepacking === false ? { disable_prepacking: '1' } : {}),
        ...(options.takesTurns ? { force_spinning_stop: '1' } : {}),
      },
    },
  }
}

function startWorker(): Worker {
  keepRuntimeSilent()
  const loader = sourceLoader()
  if (!loader) return new Worker(new URL('./worker.js', import.meta.url))
  const entry = new URL('./worker.ts', import.meta.url).href
  const start = `import(${JSON.stringify(loader.api)}).then(({ register }) => {
    register()
    return import(${JSON.stringify(entry)})
  })`
  return new Worker(start, { eval: true })
}

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never

/**
 * A thread whose session was closed, kept for the next one: starting a thread costs more than opening a
 * small model, and pruning opens many. It holds nothing and keeps no process alive.
 */
let idle: Worker | undefined

function takeWorker(): Worker {
  const worker = idle ?? startWorker()
  idle = undefined
  return worker
}

/** Questions to the thread and their answers. */
class Channel {
  private readonly worker = takeWorker()
  private readonly waiting = new Map<
    number,
    { resolve: (reply: Reply) => void; reject: (error: unknown) => void }
  >()
  private lastId = 0
  /** Questions that the thread still works on, answered or given up. */
  private working = 0
  private onIdle: (() => void) | undefined
  private failure: unknown

  constructor(private readonly signal: AbortSignal | undefined) {
    this.worker.on('message', this.onMessage)
    this.worker.on('error', this.onError)
    this.worker.on('exit', this.onExit)
    signal?.addEventListener('abort', this.onAbort, { once: true })
    this.worker.unref()
  }

  private readonly onMessage = (reply: Reply): void => {
    const asked = this.waiting.get(reply.id)
    this.waiting.delete(reply.id)
    this.rest(this.working - 1)
    if ('error' in reply) asked?.reject(new Error(reply.error))
    else asked?.resolve(reply)
  }

  private readonly onError = (error: unknown): void => this.fail(error)

  private readonly onExit = (code: number): void => {
    this.rest(0)
    this.fail(new Error(`the session's thread ended (${code})`))
  }

  private readonly onAbort = (): void => this.fail(this.signal?.reason)

  ask(request: WithoutId<Request>): Promise<Reply> {
    if (this.failure) return Promise.reject(this.failure)
    const id = ++this.lastId
    this.working++
    this.worker.ref()
    return new Promise<Reply>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject })
      this.worker.postMessage({ ...request, id })
    })
  }

  /** Frees the session, and keeps its thread for the next one where nothing went wrong. */
  async end(): Promise<void> {
    const isFreed = await this.ask({ kind: 'close' }).then(
      () => true,
      () => false,
    )
    this.signal?.removeEventListener('abort', this.onAbort)
    this.fail(new Error('the session is closed'))
    // A thread that is ended inside of ONNX Runtime aborts the whole process.
    if (this.working > 0)
      await new Promise<void>((resolve) => {
        this.onIdle = resolve
      })
    this.worker.off('message', this.onMessage)
    this.worker.off('exit', this.onExit)
    if (idle || !isFreed) {
      await this.worker.terminate()
      return
    }
    this.worker.off('error', this.onError)
    idle = this.worker
  }

  private rest(working: number): void {
    this.working = working
    if (working > 0) return
    this.worker.unref()
    this.onIdle?.()
  }

  private fail(error: unknown): void {
    this.failure ??= error
    for (const { reject } of this.waiting.values()) reject(this.failure)
    this.waiting.clear()
  }
}

class ThreadSession implements Session {
  lastRunMs = 0
  private carried: readonly string[] = []

  constructor(
    private readonly channel: Channel,
    readonly provider: ProviderName,
    readonly inputs: readonly Port[],
    readonly outputs: readonly Port[],
  ) {}

  run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, RuntimeTensor>> {
    this.carried = []
    return this.ask(feeds, fetches, undefined)
  }

  async step(
    feeds: Feeds,
    carry: Readonly<Record<string, string>>,
    copies?: readonly string[],
  ): Promise<Record<string, RuntimeTensor>> {
    const results = await this.ask(feeds, undefined, carry, copies)
    this.carried = Object.values(carry)
    return results
  }

  private async ask(
    feeds: Feeds,
    fetches: readonly string[] | undefined,
    carry: Readonly<Record<string, string>> | undefined,
    copies?: readonly string[],
  ): Promise<Record<string, RuntimeTensor>> {
    checkFeeds(this.inputs, feeds, this.carried)
    let reply: Reply
    try {
      reply = await this.channel.ask({ kind: 'run', feeds, fetches, carry, copies })
    } catch (cause) {
      if (cause instanceof AttncError || (cause as Error | undefined)?.name === 'AbortError')
        throw cause
      throw explainFailure(cause, this.provider)
    }
    if (!('results' in reply)) throw new TypeError('the session gave no results')
    this.lastRunMs = reply.runMs
    return { ...reply.results }
  }

  async close(): Promise<void> {
    await this.channel.end()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
