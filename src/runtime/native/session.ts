/**
 * Sessions of attnc's own addon over the ONNX Runtime that onnxruntime-node ships. Runs happen on
 * libuv's pool, operators of the domain `attnc` have their kernels, tensors are not copied, and
 * what `step` carries from run to run stays where it was computed.
 */
import { AttncError, InternalError } from '../../errors.js'
import type { RuntimeTensor } from '../../onnx/numbers.js'
import { checkFeeds } from '../check-feeds.js'
import { explainFailure } from '../failure.js'
import type { ProviderName } from '../provider.js'
import { explainRefusal } from '../refusal.js'
import type { Feeds, Port, Session } from '../session.js'
import { orCrash, watchForCrashes, withSite } from './crash.js'
import { endsWithProcess, untilAborted } from './in-progress.js'
import {
  type ArenaMemory,
  findAddon,
  type NativeAddon,
  type NativeHandle,
  type NativeOutput,
  type NativeRun,
  type NativeSessionHandle,
  type NativeTensor,
  type OpenedNative,
} from './library.js'
import { portOf, toNative, toTensor } from './native-values.js'
import { type NativeSessionOptions, openHandle } from './open.js'

/** Opens a session. Errors: NATIVE_MISSING, SESSION_REFUSED, PROVIDER_FAILED, RUNTIME_CRASHED. */
export async function openNativeSession(options: NativeSessionOptions): Promise<NativeSession> {
  options.signal?.throwIfAborted()
  const addon = findAddon()
  if (!addon)
    throw new AttncError('NATIVE_MISSING', 'runtime', "attnc's session addon is not built.", {
      suggestions: ['Run "npm run build:native"; it needs g++ and nothing else.'],
    })
  const provider = options.provider ?? 'cpu'
  watchForCrashes(addon, provider)
  const { signal } = options
  const open = (replays: boolean): Promise<OpenedNative> => {
    const opening = orCrash(() => openHandle(addon, { ...options, replays }, provider))
    // Opening can't be ended early: what it gives after an abort is let go.
    const letGo = (): unknown => opening.then(({ handle }) => addon.close(handle)).catch(() => {})
    return untilAborted(opening, signal, letGo)
  }
  const recorded =
    options.replays && addon.replay ? await open(true).catch(() => undefined) : undefined
  try {
    const opened = recorded ?? (await open(false))
    const reopen = recorded && (async () => (await open(false)).handle)
    const inPlace = (recorded && options.inPlace) || {}
    return new NativeSession(addon, opened, provider, {
      path: options.path,
      signal,
      reopen,
      inPlace,
    })
  } catch (error) {
    const cause = await withSite(error, () => siteOf(options.path))
    throw explainRefusal(cause, options, provider)
  }
}

const siteOf = async (path: string, feeds?: Feeds) =>
  (await import('./crash-site.js')).findCrashSite(path, feeds)

interface Ways {
  readonly path: string
  readonly signal: AbortSignal | undefined
  /** Of a session that replays its steps: one of the same model that does not. */
  readonly reopen: (() => Promise<NativeSessionHandle>) | undefined
  /** Outputs that are where the inputs lie which they become, while it replays. */
  readonly inPlace: Readonly<Record<string, string>>
}

export class NativeSession implements Session {
  lastRunMs = 0
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  private readonly carried = new Map<string, NativeHandle | NativeTensor>()
  private isClosed = false
  private lastRun: Promise<unknown> = Promise.resolve()

  private handle: NativeSessionHandle
  /** Whether steps are replayed; `has` once one was. */
  private replays: 'yes' | 'has' | 'no'

  constructor(
    private readonly addon: NativeAddon,
    opened: OpenedNative,
    readonly provider: ProviderName,
    private readonly ways: Ways,
  ) {
    this.handle = opened.handle
    this.inputs = opened.inputs.map(portOf)
    this.outputs = opened.outputs.map(portOf)
    this.replays = ways.reopen ? 'yes' : 'no'
  }

  async run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, RuntimeTensor>> {
    checkFeeds(this.inputs, feeds)
    const wanted = fetches ?? this.outputs.map(({ name }) => name)
    if (this.replays !== 'no')
      throw new InternalError('a session that replays steps was asked for a single run')
    const given = Object.entries(feeds).map(([name, tensor]) => [name, toNative(tensor)] as const)
    const outputs = await this.execute(() =>
      this.addon.run(
        this.handle,
        given,
        wanted.map((name) => [name, false]),
      ),
    ).catch(async (error: unknown) => {
      throw await withSite(error, () => siteOf(this.ways.path, feeds))
    })
    return Object.fromEntries(outputs.map((each, at) => [wanted[at] as string, toTensor(each)]))
  }

  async step(
    feeds: Feeds,
    carry: Readonly<Record<string, string>>,
    copies: readonly string[] = [],
  ): Promise<Record<string, RuntimeTensor>> {
    checkFeeds(this.inputs, feeds, this.held(carry))
    if (this.replays !== 'no') return this.replay(feeds, carry, copies)
    const held = [...this.carried].filter(([name]) => !(name in feeds))
    const given = Object.entries(feeds).map(([name, tensor]) => [name, toNative(tensor)] as const)
    const wanted = this.outputs.map(({ name }) => name)
    const fetches = wanted.map((name) => [name, name in carry && !copies.includes(name)] as const)
    const outputs = await this.execute(() =>
      this.addon.run(this.handle, [...held, ...given], fetches),
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

  /** Inputs that hold what they held, or what they became, where nothing is fed to them. */
  private held(carry: Readonly<Record<string, string>>): readonly string[] {
    if (this.replays === 'no') return [...this.carried.keys()]
    return this.replays === 'has' ? Object.values(carry) : Object.values(this.ways.inPlace)
  }

  /** A step over tensors that stay where they are. */
  private async replay(
    feeds: Feeds,
    carry: Readonly<Record<string, string>>,
    copies: readonly string[],
  ): Promise<Record<string, RuntimeTensor>> {
    const wanted = this.outputs
      .map(({ name }) => name)
      .filter((name) => !(name in carry) || copies.includes(name))
    const given = Object.entries(feeds).map(([name, tensor]) => [name, toNative(tensor)] as const)
    const replay = this.addon.replay as NonNullable<NativeAddon['replay']>
    const moved = Object.entries(carry).filter(([output]) => !(output in this.ways.inPlace))
    try {
      const outputs = await this.execute(() => replay(this.handle, given, moved, wanted))
      this.replays = 'has'
      return Object.fromEntries(outputs.map((each, at) => [wanted[at] as string, toTensor(each)]))
    } catch (error) {
      // Some kernels can't be recorded, and the first step tells; it has changed nothing.
      if (this.replays === 'has' || this.ways.signal?.aborted) throw error
      await this.endReplays()
      return this.step(feeds, carry, copies)
    }
  }

  private async endReplays(): Promise<void> {
    this.addon.close(this.handle)
    this.replays = 'no'
    this.handle = (await this.ways.reopen?.()) ?? this.handle
  }

  /** Whether steps are recorded and replayed, as asked for. */
  get isReplaying(): boolean {
    return this.replays !== 'no'
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
      this.ways.signal?.throwIfAborted()
      return endsWithProcess(this, () => orCrash(work))
    })
    this.lastRun = run.catch(() => {})
    return run
  }

  /** Ends the run in progress, if any, at its next node. */
  cancel(): void {
    this.addon.cancel(this.handle)
  }

  private async execute(work: () => Promise<NativeRun>): Promise<readonly NativeOutput[]> {
    const { signal } = this.ways
    signal?.throwIfAborted()
    try {
      // An abort rejects at once; ONNX Runtime ends at its next node, unheard.
      const { outputs, milliseconds } = await untilAborted(this.inTurn(work), signal, () =>
        this.cancel(),
      )
      this.lastRunMs = milliseconds
      return outputs
    } catch (cause) {
      if (signal?.aborted) throw signal.reason
      if (cause instanceof AttncError) throw cause
      throw explainFailure(cause, this.provider)
    }
  }
}
