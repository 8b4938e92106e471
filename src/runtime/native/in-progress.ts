/** Runs in progress end early where their signal or the process does. */

interface Cancellable {
  cancel(): void
}

/** Sessions that run. A process that ends waits for them, so they are told to end too. */
const running = new Set<Cancellable>()

const cancelAll = (): void => {
  for (const session of running) session.cancel()
}

export async function endsWithProcess<T>(session: Cancellable, work: () => Promise<T>): Promise<T> {
  if (running.size === 0) process.on('exit', cancelAll)
  running.add(session)
  try {
    return await work()
  } finally {
    running.delete(session)
    if (running.size === 0) process.off('exit', cancelAll)
  }
}

export function untilAborted<T>(
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
