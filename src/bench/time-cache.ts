/**
 * Times that were measured on this machine, kept for the next run in the user's cache folder. Another
 * processor, runtime, provider or number of threads is another file: nothing is ever out of date.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, homedir } from 'node:os'
import { join } from 'node:path'
import { type ProviderName, runtimeVersion } from '../runtime/provider.js'
import { makeFolder } from '../write-whole.js'

export interface Machine {
  readonly provider: ProviderName
  readonly threads: number | undefined
}

/** XDG_CACHE_HOME, or what the system has for it. */
function cacheFolder(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'attnc')
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'attnc')
  if (process.platform === 'win32' && LOCALAPPDATA) return join(LOCALAPPDATA, 'attnc', 'cache')
  return join(homedir(), '.cache', 'attnc')
}

/** What times depend on beside the operator. */
function fingerprint({ provider, threads }: Machine): Readonly<Record<string, unknown>> {
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    architecture: process.arch,
    runtime: runtimeVersion(),
    provider,
    threads: threads ?? availableParallelism(),
  }
}

export class TimeCache {
  private isChanged = false

  private constructor(
    private readonly path: string,
    private readonly machine: Readonly<Record<string, unknown>>,
    private readonly times: Map<string, number>,
  ) {}

  static open(machine: Machine, folder: string = cacheFolder()): TimeCache {
    const marks = fingerprint(machine)
    const name = createHash('sha256').update(JSON.stringify(marks)).digest('hex').slice(0, 16)
    const path = join(folder, `times-${name}.json`)
    return new TimeCache(path, marks, readTimes(path))
  }

  get(key: string): number | undefined {
    return this.times.get(key)
  }

  set(key: string, milliseconds: number): void {
    this.times.set(key, milliseconds)
    this.isChanged = true
  }

  /** Aside and renamed; a cache that can't be kept is no reason to fail. */
  save(): void {
    if (!this.isChanged) return
    const aside = `${this.path}.${randomUUID()}`
    try {
      makeFolder(join(this.path, '..'))
      const times = Object.fromEntries(this.times)
      writeFileSync(aside, `${JSON.stringify({ format: 1, machine: this.machine, times })}\n`)
      renameSync(aside, this.path)
      this.isChanged = false
    } catch {
      // Measured again next time.
    }
  }
}

function readTimes(path: string): Map<string, number> {
  try {
    const { format, times } = JSON.parse(readFileSync(path, 'utf8')) as Partial<{
      format: number
      times: Record<string, number>
    }>
    const isTime = (entry: readonly [string, unknown]): boolean =>
      typeof entry[1] === 'number' && entry[1] >= 0
    return new Map(format === 1 ? Object.entries(times ?? {}).filter(isTime) : [])
  } catch {
    return new Map()
  }
}
