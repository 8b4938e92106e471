/** How much may be taken on a provider. */
import { spawnSync } from 'node:child_process'
import type { ProviderName } from './provider.js'

export interface Room {
  readonly bytes: number
  /** Where the number comes from, for the error. */
  readonly source: 'limit' | 'free'
}

/** The limit, or without one four fifths of what is free, as estimates lie below the truth; undefined where nobody says. */
export function roomOf(provider: ProviderName, limit: number | undefined): Room | undefined {
  if (limit !== undefined) return { bytes: limit, source: 'limit' }
  const free = provider === 'cpu' ? process.availableMemory() : freeOnDevice()
  return free === undefined ? undefined : { bytes: 0.8 * free, source: 'free' }
}

/** Of the first GPU that CUDA shows, which is the one that sessions take. */
function freeOnDevice(): number | undefined {
  const [first] = (process.env['CUDA_VISIBLE_DEVICES'] ?? '').split(',')
  const query = ['--query-gpu=memory.free', '--format=csv,noheader,nounits', `--id=${first || 0}`]
  const megabytes = Number.parseInt(
    spawnSync('nvidia-smi', query, { encoding: 'utf8' }).stdout ?? '',
    10,
  )
  return Number.isNaN(megabytes) ? undefined : megabytes * 2 ** 20
}
