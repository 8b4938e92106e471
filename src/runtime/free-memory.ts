/** How much may be taken on a provider. */
import { askDevice } from './ask-device.js'
import type { ProviderName } from './provider.js'

export interface Room {
  readonly bytes: number
  /** Where the number comes from, for the error. */
  readonly source: 'limit' | 'free'
}

/** The limit, or without one a share of what is free, as estimates lie below the truth; undefined where nobody says. */
export function roomOf(
  provider: ProviderName,
  limit: number | undefined,
  share = 0.8,
): Room | undefined {
  if (limit !== undefined) return { bytes: limit, source: 'limit' }
  const free = provider === 'cpu' ? process.availableMemory() : freeOnDevice()
  return free === undefined ? undefined : { bytes: share * free, source: 'free' }
}

function freeOnDevice(): number | undefined {
  const megabytes = askDevice('memory.free')
  return megabytes === undefined ? undefined : megabytes * 2 ** 20
}
