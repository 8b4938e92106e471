/**
 * A model that runs: opened by path, on one provider, away from the thread that asks. By attnc's own addon
 * where it is built, else by onnxruntime-node in a thread; docs/decisions/008 says why in this order. Wrong feeds
 * are refused by name before ONNX Runtime sees them.
 */
import type { RuntimeTensor } from '../onnx/numbers.js'
import { findAddon } from './native/library.js'
import { openNativeSession } from './native/session.js'
import type { ProviderName } from './provider.js'
import { openThreadSession } from './thread-session.js'
import type { Port } from './worker.js'

export type { Port } from './worker.js'

export interface SessionOptions {
  /** Path of the .onnx file; external data is looked for beside it. */
  readonly path: string
  readonly provider?: ProviderName
  readonly threads?: number | undefined
  /** Off: weights stay mapped instead of being packed again; quicker to open, slower to run. */
  readonly prepacking?: boolean
  /** ONNX Runtime's own rewriting of the graph. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'all' | undefined
  /**
   * Memory counts more than the time of single calls: arenas grow by what is asked for, and a run that
   * is like the one before gets no block for all it needs beside what the first one took.
   */
  readonly sparing?: boolean
  /**
   * Every `step` has the same sizes, and all of them are stated: tensors stay where they are, and on a GPU a step's
   * kernels are recorded once and then started by one call. Where that can't be, steps run as they always do.
   */
  readonly replays?: boolean
  /**
   * With `replays`: outputs that are written where the inputs lie that they become (output → input), by operators
   * that allow it. Such inputs are zeros at first and need no feed; a session that can't replay has none of it.
   */
  readonly inPlace?: Readonly<Record<string, string>>
  /** Other sessions run in turns with this one: its threads rest as soon as a run ends. */
  readonly takesTurns?: boolean
  /** Off: ONNX Runtime prints what it throws as well, in its own words. */
  readonly quiet?: boolean
  readonly signal?: AbortSignal | undefined
}

export type Feeds = Readonly<Record<string, RuntimeTensor>>

export interface Session extends AsyncDisposable {
  readonly provider: ProviderName
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** Milliseconds that the last run took inside ONNX Runtime. */
  readonly lastRunMs: number
  run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, RuntimeTensor>>
  /**
   * A run of which some outputs, by name, become inputs of the next one without leaving the thread.
   * Feeding such an input starts it afresh. Outputs in `copies` stay and are returned as well.
   */
  step(
    feeds: Feeds,
    carry: Readonly<Record<string, string>>,
    copies?: readonly string[],
  ): Promise<Record<string, RuntimeTensor>>
  close(): Promise<void>
}

/**
 * Opens a session. `ATTNC_ENGINE=thread` takes onnxruntime-node in any case. Errors: SESSION_REFUSED,
 * PROVIDER_FAILED; the signal's reason when aborted.
 */
export function openSession(options: SessionOptions): Promise<Session> {
  const isKnown = options.provider !== 'webgpu'
  const isWanted = process.env['ATTNC_ENGINE'] !== 'thread'
  return isKnown && isWanted && findAddon()
    ? openNativeSession(options)
    : openThreadSession(options)
}
