/**
 * Sessions of attnc's own addon over the ONNX Runtime that onnxruntime-node ships. Runs happen on
 * libuv's pool, operators of the domain `attnc` have their kernels, tensors are not copied, and
 * what `step` carries from run to run stays where it was computed.
 */
import { AttncError } from '../../errors.js'
import { type DataType, dataTypeCode, findDataType } from '../../onnx/data-type.js'
import { arrayTypeOf, type RuntimeTensor } from '../../onnx/numbers.js'
import { checkFeeds } from '../check-feeds.js'
import type { ProviderName } from '../provider.js'
import { explainRefusal } from '../refusal.js'
import type { Feeds, Port, Session, SessionOptions } from '../session.js'
import {
  type ArenaMemory,
  findAddon,
  findCudaKernelLibrary,
  findKernelLibrary,
  type NativeAddon,
  type NativeHandle,
  type NativeOutput,
  type NativePort,
  type NativeSessionHandle,
  type NativeTensor,
  runtimeLibrary,
} from './library.js'

export interface NativeSessionOptions extends SessionOptions {
  /** Off: the bodies of attnc's operators run instead of their kernels. Or the library to take. */
  readonly kernels?: boolean | string
  /** Options of the CUDA provider, by ONNX Runtime's names: `gpu_mem_limit`, `use_tf32` … */
  readonly providerOptions?: Readonly<Record<string, string>>
  /** Entries of ONNX Runtime's session configuration: `session.…`. */
  readonly config?: Readonly<Record<string, string>>
  /** A profile of every operator is written to a file that begins so. */
  readonly profile?: string
}

const optimizationLevels = { disabled: 0, basic: 1, extended: 2, all: 99 } as const

/** On a device the processor's kernels would copy to the host and back: bodies are better there. */
const libraryFor = (provider: ProviderName): string | undefined =>
  provider === 'cuda' ? findCudaKernelLibrary() : findKernelLibrary()

const libraryOf = (kernels: NativeSessionOptions['kernels'], provider: ProviderName): string =>
  typeof kernels === 'string' ? kernels : kernels === false ? '' : (libraryFor(provider) ?? '')

/** Opens a session. Errors: NATIVE_MISSING, SESSION_REFUSED, PROVIDER_FAILED. */
export async function openNativeSession(options: NativeSessionOptions): Promise<NativeSession> {
  options.signal?.throwIfAborted()
  const addon = findAddon()
  if (!addon)
    throw new AttncError('NATIVE_MISSING', 'runtime', "attnc's session addon is not built.", {
      suggestions: ['Run "npm run build:native"; it needs g++ and nothing else.'],
    })
  const provider = options.provider ?? 'cpu'
  try {
    const opened = await addon.open(runtimeLibrary(), {
      model: options.path,
      kernels: libraryOf(options.kernels, provider),
      threads: options.threads ?? 0,
      optimization: optimizationLevels[options.optimization ?? 'all'],
      cuda: provider === 'cuda',
      providerOptions: Object.entries({
        ...(options.sparing ? { arena_extend_strategy: 'kSameAsRequested' } : {}),
        ...options.providerOptions,
      }),
      severity: options.quiet ? 4 : 3,
      config: Object.entries({
        ...(options.prepacking === false ? { 'session.disable_prepacking': '1' } : {}),
        ...(options.takesTurns ? { 'session.force_spinning_stop': '1' } : {}),
        ...options.config,
      }),
      profile: options.profile ?? '',
      memoryPattern: !options.sparing,
    })
    return new NativeSession(addon, opened.handle, provider, {
      inputs: opened.inputs.map(portOf),
      outputs: opened.outputs.map(portOf),
      signal: options.signal,
    })
  } catch (error) {
    throw explainRefusal(error, options, provider)
  }
}

interface Opened {
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly signal: AbortSignal | undefined
}

export class NativeSession implements Session {
  lastRunMs = 0
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  private readonly carried = new Map<string, NativeHandle | NativeTensor>()
  private isClosed = false
  private lastRun: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly addon: NativeAddon,
    private readonly handle: NativeSessionHandle,
    readonly provider: ProviderName,
    private readonly opened: Opened,
  ) {
    this.inputs = opened.inputs
    this.outputs = opened.outputs
  }

  async run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, RuntimeTensor>> {
    checkFeeds(this.inputs, feeds)
    const wanted = fetches ?? this.outputs.map(({ name }) => name)
    const outputs = await this.execute(
      Object.entries(feeds).map(([name, tensor]) => [name, toNative(tensor)]),
      wanted.map((name) => [name, false]),
    )
    return Object.fromEntries(outputs.map((each, at) => [wanted[at] as string, toTensor(each)]))
  }

  async step(
    feeds: Feeds,
    carry: Readonly<Record<string, string>>,
    copies: readonly string[] = [],
  ): Promise<Record<string, RuntimeTensor>> {
    checkFeeds(this.inputs, feeds, [...this.carried.keys()])
    const held = [...this.carried].filter(([name]) => !(name in feeds))
    const given = Object.entries(feeds).map(([name, tensor]) => [name, toNative(tensor)] as const)
    const wanted = this.outputs.map(({ name }) => name)
    const outputs = await this.execute(
      [...held, ...given],
      wanted.map((name) => [name, name in carry && !copies.includes(name)]),
    )
    const results: Record<string, RuntimeTensor> = {}
    for (const [at, each] of outputs.entries()) {
      const name = wanted[at] as string
      const input = carry[name]
      if (!each.handle) results[name] = toTensor(each)
      if (input === undefined) continue
      this.drop(input)
      // What is handed out as well goes back in from here.
      this.carried.set(input, each.handle ?? toNative(results[name] as RuntimeTensor))
    }
    return results
  }

  /** Ends profiling and gives the file's path; for sessions opened with `profile`. */
  endProfiling(): string {
    return this.addon.endProfiling(this.handle)
  }

  /** What the session's arena holds on its device; undefined where the addon was built before it could tell. */
  get memory(): ArenaMemory | undefined {
    return this.addon.memory?.(this.handle)
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    for (const input of [...this.carried.keys()]) this.drop(input)
    this.addon.close(this.handle)
  }

  /** Forgets a carried tensor, and its bytes now: the collector doesn't know how large it is. */
  private drop(input: string): void {
    const known = this.carried.get(input)
    this.carried.delete(input)
    if (known && !('data' in known)) this.addon.release?.(known)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** One run at a time: a run that only waited would keep a thread of libuv's pool from others. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.lastRun.then(() => {
      this.opened.signal?.throwIfAborted()
      return endsWithProcess(this, work)
    })
    this.lastRun = run.catch(() => {})
    return run
  }

  /** Ends the run in progress, if any, at its next node. */
  cancel(): void {
    this.addon.cancel(this.handle)
  }

  private async execute(
    feeds: readonly (readonly [string, NativeTensor | NativeHandle])[],
    fetches: readonly (readonly [string, boolean])[],
  ): Promise<readonly NativeOutput[]> {
    const { signal } = this.opened
    signal?.throwIfAborted()
    try {
      const run = this.inTurn(() => this.addon.run(this.handle, feeds, fetches))
      // An abort rejects at once; ONNX Runtime ends at its next node, unheard.
      const { outputs, milliseconds } = await untilAborted(run, signal, () => this.cancel())
      this.lastRunMs = milliseconds
      return outputs
    } catch (cause) {
      if (signal?.aborted) throw signal.reason
      const text = cause instanceof Error ? cause.message : String(cause)
      throw new AttncError('RUN_FAILED', 'runtime', `ONNX Runtime stopped: ${text}`, { cause })
    }
  }
}

/** Sessions that run. A process that ends waits for them, so they are told to end too. */
const running = new Set<NativeSession>()

const cancelAll = (): void => {
  for (const session of running) session.cancel()
}

async function endsWithProcess<T>(session: NativeSession, work: () => Promise<T>): Promise<T> {
  if (running.size === 0) process.on('exit', cancelAll)
  running.add(session)
  try {
    return await work()
  } finally {
    running.delete(session)
    if (running.size === 0) process.off('exit', cancelAll)
  }
}

function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  onAbort: () => void,
): Promise<T> {
  if (!signal) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      onAbort()
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

const portOf = ({ name, type, dims }: NativePort): Port => ({
  name,
  dataType: findDataType(type) ?? 'float32',
  dims,
})

const toNative = ({ dataType, dims, data }: RuntimeTensor): NativeTensor => ({
  type: dataTypeCode(dataType),
  dims,
  data,
})

function toTensor({ type, dims, buffer = new ArrayBuffer() }: NativeOutput): RuntimeTensor {
  const dataType = findDataType(type) as DataType
  const Type = arrayTypeOf(dataType)
  if (!Type) throw new TypeError(`no array for ${dataType}`)
  return { dataType, dims, data: new Type(buffer) }
}
