import { setImmediate } from 'node:timers/promises'

/** Between long computations: Ctrl-C is heard, and progress is drawn. Throws the signal's reason. */
export async function breathe(signal: AbortSignal | undefined): Promise<void> {
  await setImmediate()
  signal?.throwIfAborted()
}
