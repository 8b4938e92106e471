/** How much memory a model needs: the peak of a process that does nothing but open and run it. */
import { AttncError } from '../errors.js'
import type { ProviderName } from '../runtime/provider.js'
import type { Feeds } from '../runtime/session.js'
import { forkModule } from '../runtime/source-loader.js'
import { keepRuntimeSilent } from '../runtime/telemetry.js'

export interface MemoryRequest {
  readonly path: string
  readonly provider: ProviderName
  readonly threads: number | undefined
  readonly feeds: Feeds
}

export interface Memory {
  /** Most resident bytes while the model was opened, more than the process had before. */
  readonly openedBytes: number
  /** The same, of opening and running. */
  readonly peakBytes: number
}

export type MemoryReply = Memory | { readonly error: string }

/**
 * Resident memory on the host, a thread of its own and mapped weights included, ONNX Runtime's code
 * not; what lies on a GPU is not seen. Errors: MEMORY_UNKNOWN; the signal's reason when aborted.
 */
export async function measureMemory(request: MemoryRequest, signal?: AbortSignal): Promise<Memory> {
  signal?.throwIfAborted()
  keepRuntimeSilent()
  const child = forkModule('./memory-process', import.meta.url)
  const stop = (): boolean => child.kill('SIGKILL')
  signal?.addEventListener('abort', stop, { once: true })
  try {
    return await new Promise<Memory>((resolve, reject) => {
      child.once('message', (reply: MemoryReply) => {
        if ('error' in reply) reject(unknown(reply.error))
        else resolve(reply)
      })
      child.once('error', (cause) => reject(unknown(cause.message)))
      child.once('exit', (code, name) =>
        reject(signal?.aborted ? signal.reason : unknown(`the process ended (${name ?? code})`)),
      )
      child.send(request)
    })
  } finally {
    signal?.removeEventListener('abort', stop)
    stop()
  }
}

const unknown = (text: string): AttncError =>
  new AttncError('MEMORY_UNKNOWN', 'runtime', `Peak memory can't be measured: ${text}`, {
    suggestions: ['Leave it out with --no-memory (memory: false).'],
  })
