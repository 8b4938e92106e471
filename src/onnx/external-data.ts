/**
 * Where the external data of a model lies: names in the file → files in its folder, checked.
 * A location may not leave the folder, also not through a link; a link of the model file itself may lead
 * to where its data is (download caches are laid out so).
 */
import { realpathSync } from 'node:fs'
import { dirname, isAbsolute, join, relative, win32 } from 'node:path'
import { AttncError } from '../errors.js'
import { FileBytes, type FileStamp, stampFile } from './file-bytes.js'
import type { TensorMessage } from './messages.js'

export interface ExternalLocation {
  readonly location: string
  readonly offset: number
  /** undefined: what the shape needs. */
  readonly length: number | undefined
}

/** What the entries of `external_data` say. */
export function readLocation(message: TensorMessage): ExternalLocation {
  const entries = new Map(
    (message.external_data ?? []).map((entry) => [entry.key ?? '', entry.value ?? '']),
  )
  const number = (key: string): number | undefined => {
    const text = entries.get(key)
    if (text === undefined || text === '') return undefined
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (!Number.isSafeInteger(value))
      throw new AttncError(
        'EXTERNAL_DATA_MALFORMED',
        'model',
        `Tensor "${message.name ?? ''}" has external data with the ${key} "${text}"; a number of bytes was expected.`,
        { suggestions: ['Export the model again.'] },
      )
    return value
  }
  return {
    location: entries.get('location') ?? '',
    offset: number('offset') ?? 0,
    length: number('length'),
  }
}

/** The files that a model's tensors lie in. One for each model that is read. */
export class ExternalFiles {
  private readonly stamps = new Map<string, FileStamp | undefined>()

  constructor(
    private readonly folder: string,
    private readonly options: {
      /** The .onnx file, where there is one. */
      readonly modelPath?: string | undefined
      /** Data that is not there is an error only when it is read. */
      readonly allowMissing?: boolean | undefined
    } = {},
  ) {}

  /** The bytes of one tensor. */
  open(message: TensorMessage, byteLength: number): FileBytes | MissingBytes {
    const { location, offset, length } = readLocation(message)
    const name = message.name ?? ''
    if (length !== undefined && length !== byteLength)
      throw new AttncError(
        'TENSOR_SIZE_MISMATCH',
        'model',
        `Tensor "${name}" takes ${length} bytes of "${location}", but its shape and type need ${byteLength}.`,
        {
          suggestions: [
            'The model and its data do not belong together: export or copy both again.',
          ],
        },
      )
    const stamp = this.find(location, name)
    if (!stamp) return new MissingBytes(missing(location, name, this.folder), byteLength)
    if (offset + byteLength > stamp.size)
      throw new AttncError(
        'EXTERNAL_DATA_SHORT',
        'model',
        `Tensor "${name}" needs the bytes ${offset} to ${offset + byteLength} of "${location}", which has ${stamp.size}.`,
        { suggestions: [`Copy or download "${location}" again; it may have been cut off.`] },
      )
    return new FileBytes(stamp, offset, byteLength)
  }

  /** Files that were asked for and found, for instance to digest them. */
  found(): FileStamp[] {
    return [...this.stamps.values()].filter((stamp) => stamp !== undefined)
  }

  private find(location: string, name: string): FileStamp | undefined {
    if (this.stamps.has(location)) return this.stamps.get(location)
    const outside = (why: string): AttncError =>
      new AttncError(
        'EXTERNAL_DATA_OUTSIDE',
        'model',
        `Tensor "${name}" wants its data from "${location}", ${why}; only files in the model's folder "${this.folder}" are read.`,
        { suggestions: ['Move the data beside the model and export it with a relative location.'] },
      )
    if (location === '' || location.includes('\0')) throw outside('which names no file')
    if (isAbsolute(location) || win32.isAbsolute(location)) throw outside('an absolute path')
    if (location.split(/[\\/]/).includes('..')) throw outside('a path upwards')
    const path = join(this.folder, location)
    const real = realPath(path)
    if (real === undefined) {
      if (!this.options.allowMissing) throw missing(location, name, this.folder)
      this.stamps.set(location, undefined)
      return undefined
    }
    const roots = [realPath(this.folder)]
    if (this.options.modelPath) roots.push(dirname(realPath(this.options.modelPath) ?? ''))
    if (!roots.some((root) => root && isInside(root, real))) throw outside(`a link to "${real}"`)
    const stamp = stampFile(path)
    this.stamps.set(location, stamp)
    return stamp
  }
}

/** Data that is not there: sizes are known, reading fails. */
class MissingBytes {
  readonly file = undefined

  constructor(
    private readonly error: AttncError,
    readonly byteLength: number,
  ) {}

  read(): never {
    throw this.error
  }

  bytes(): never {
    throw this.error
  }
}

const missing = (location: string, name: string, folder: string): AttncError =>
  new AttncError(
    'EXTERNAL_DATA_MISSING',
    'model',
    `Tensor "${name}" has its data in "${location}", and there is no such file in "${folder}".`,
    { suggestions: [`Put "${location}" beside the model; both belong together.`] },
  )

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, path)
  return way !== '' && !isAbsolute(way) && way.split(/[\\/]/)[0] !== '..'
}
