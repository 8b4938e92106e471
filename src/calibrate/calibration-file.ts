/**
 * A calibration on disk: an .npz with `calibration.json`, which says what it is a calibration of, and the
 * sums of each block as arrays. Sums are stored as they are added up, so a file is also a checkpoint and
 * a part to be merged; the same batches give the same bytes however they were split.
 */
import { existsSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { npyEntry, parseNpy } from '../data/npz.js'
import { withZip, type ZipEntry, type ZipSource, zipParts } from '../data/zip.js'
import { AttncError } from '../errors.js'
import { diskFull } from '../model-folder/output-errors.js'
import { followLink, isWrittenInto, makeFolder } from '../write-whole.js'
import { ExactSums } from './exact-sums.js'
import type { CalibrationKey, CalibrationState } from './state.js'
import { Sums } from './statistics.js'

const FORMAT = 1
const HEAD = 'calibration.json'

interface BlockHead {
  readonly key: string
  readonly size: number
  readonly prompts: number
  readonly tokens: number
  readonly additions: number
}

interface Head extends CalibrationKey {
  readonly format: typeof FORMAT
  /** First and last of each run of batches that are in. */
  readonly done: readonly (readonly [first: number, last: number])[]
  readonly providers: readonly string[]
  readonly blocks: readonly BlockHead[]
}

/** Writes a state beside `path` and puts it there. Errors: OUTPUT_UNWRITABLE, DISK_FULL. */
export async function writeCalibration(path: string, state: CalibrationState): Promise<void> {
  const isInto = isWrittenInto(path)
  const target = isInto ? path : followLink(path)
  const temporary = isInto ? path : `${target}.${process.pid}.tmp`
  try {
    makeFolder(dirname(target))
    await using file = await open(temporary, 'w')
    for (const part of zipParts(sourcesOf(state))) await file.writeFile(part)
    if (!isInto) {
      await file.sync()
      await rename(temporary, target)
    }
  } catch (cause) {
    if (!isInto) await rm(temporary, { force: true })
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw diskFull(path, 'the disk or quota is full', cause)
    throw new AttncError('OUTPUT_UNWRITABLE', 'usage', `"${path}" can't be written: ${message}.`, {
      cause,
      suggestions: ['Name a file in a folder that this user may write to.'],
    })
  }
}

function* sourcesOf(state: CalibrationState): Generator<ZipSource> {
  yield { name: HEAD, parts: [Buffer.from(`${JSON.stringify(headOf(state), null, 2)}\n`)] }
  for (const [key, { absolute, moments }] of state.blocks) {
    yield* entriesOf(`${key}.absolute`, absolute)
    if (moments) yield* entriesOf(`${key}.moments`, moments)
  }
}

function* entriesOf(name: string, { high, low, bin, length }: ExactSums): Generator<ZipSource> {
  const dims = [length]
  yield npyEntry(`${name}.high`, { dataType: 'float64', dims, data: high })
  yield npyEntry(`${name}.low`, { dataType: 'float64', dims, data: low })
  yield npyEntry(`${name}.bin`, { dataType: 'int8', dims, data: bin })
}

function headOf({ key, done, providers, blocks }: CalibrationState): Head {
  return {
    format: FORMAT,
    ...key,
    done: toRuns([...done].sort((a, b) => a - b)),
    providers: [...providers].sort(),
    blocks: [...blocks].map(([name, { size, prompts, tokens, additions }]) => ({
      key: name,
      size,
      prompts,
      tokens,
      additions,
    })),
  }
}

function toRuns(indices: readonly number[]): [number, number][] {
  const runs: [number, number][] = []
  for (const index of indices) {
    const last = runs.at(-1)
    if (last && last[1] === index - 1) last[1] = index
    else runs.push([index, index])
  }
  return runs
}

/** Reads a state. Errors: CALIBRATION_MISSING, CALIBRATION_FORMAT. */
export function readCalibration(path: string): CalibrationState {
  if (!existsSync(path))
    throw new AttncError('CALIBRATION_MISSING', 'usage', `There is no calibration at "${path}".`, {
      suggestions: ['"attnc calibrate MODEL --data FILE -o calibration.npz" makes one.'],
    })
  try {
    return withZip(path, (entries) => {
      const byName = new Map(entries.map((entry) => [entry.name, entry]))
      return stateOf(parseHead(byName.get(HEAD)), (name, length) => {
        const found = byName.get(`${name}.npy`)
        if (!found) throw new Error(`it lacks "${name}"`)
        const { data } = parseNpy(found.read(), `${path}/${name}`)
        if (data.length !== length)
          throw new Error(`"${name}" has ${data.length} numbers, not ${length}`)
        return data
      })
    })
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause)
    throw new AttncError('CALIBRATION_FORMAT', 'usage', `"${path}" is no calibration: ${text}.`, {
      cause,
      suggestions: ['Make it anew with "attnc calibrate".'],
    })
  }
}

function parseHead(entry: ZipEntry | undefined): Head {
  if (!entry) throw new Error(`it has no ${HEAD}`)
  const head = JSON.parse(Buffer.from(entry.read()).toString()) as Partial<Head>
  if (head.format !== FORMAT)
    throw new Error(`its format is ${head.format}, and this version reads ${FORMAT}`)
  if (!Array.isArray(head.blocks) || !Array.isArray(head.done))
    throw new Error('its head is damaged')
  return head as Head
}

function stateOf(head: Head, array: (name: string, length: number) => unknown): CalibrationState {
  const sums = (name: string, length: number): ExactSums =>
    new ExactSums(
      length,
      array(`${name}.high`, length) as Float64Array,
      array(`${name}.low`, length) as Float64Array,
      array(`${name}.bin`, length) as Int8Array,
    )
  const { model, data, batches, stride, moments, done, providers, blocks } = head
  const range = ([first, last]: readonly [number, number]): number[] =>
    Array.from({ length: last - first + 1 }, (_, index) => first + index)
  return {
    key: { model, data, batches, stride, moments },
    done: new Set(done.flatMap(range)),
    providers: new Set(providers),
    blocks: new Map(
      blocks.map(({ key, size, prompts, tokens, additions }) => {
        const triangle = moments ? sums(`${key}.moments`, (size * (size + 1)) / 2) : undefined
        const read = new Sums(size, sums(`${key}.absolute`, size), triangle)
        read.count(prompts, tokens, additions)
        return [key, read]
      }),
    ),
  }
}

/** Statistics of a file, for pruning. Errors: CALIBRATION_OTHER_MODEL and those of reading. */
export function loadCalibrationFor(path: string, digest: string): CalibrationState {
  const state = readCalibration(path)
  if (state.key.model === digest) return state
  throw new AttncError(
    'CALIBRATION_OTHER_MODEL',
    'usage',
    `"${path}" was made from another model (${state.key.model?.slice(0, 12)}; this one is ${digest.slice(0, 12)}).`,
    { suggestions: ['Calibrate this model, or prune the one that was calibrated.'] },
  )
}
