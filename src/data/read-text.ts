/** A text file of data: whole, or as much of its beginning as is asked for. */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { AttncError } from '../errors.js'

/** Without a byte order mark. Errors: FILE_UNREADABLE, TEXT_ENCODING, TEXT_TOO_LARGE. */
export const readDataText = (path: string): string => readStart(path, Number.POSITIVE_INFINITY).text

/**
 * What `take` makes of a text. It gets a beginning of so many bytes and then longer ones, for as long as it gives
 * undefined: of a text of gigabytes little may be wanted, and tokens of all of it take minutes.
 */
export function takeFromText<Result>(
  path: string,
  first: number,
  take: (text: string, isWhole: boolean) => Result | undefined,
): Result | undefined {
  for (let bytes = first; ; bytes *= 4) {
    const { text, isWhole } = readStart(path, bytes)
    const found = take(text, isWhole)
    if (found !== undefined || isWhole) return found
  }
}

interface Start {
  /** Ends before a character that is not whole. */
  readonly text: string
  readonly isWhole: boolean
}

function readStart(path: string, most: number): Start {
  const { bytes, isWhole } = readBytes(path, most)
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true })
    return { text: decoder.decode(bytes, { stream: !isWhole }), isWhole }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_STRING_TOO_LONG') throw tooLarge(path, cause)
    throw new AttncError('TEXT_ENCODING', 'usage', `"${path}" is not text in UTF-8.`, {
      cause,
      suggestions: ['Convert it, for instance with "iconv -f LATIN1 -t UTF-8".'],
    })
  }
}

function readBytes(path: string, most: number): { bytes: Uint8Array; isWhole: boolean } {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const found = fstatSync(file)
    // What is no file, a pipe, can be read once.
    if (!found.isFile() || found.size <= most) return { bytes: readFileSync(file), isWhole: true }
    const bytes = Buffer.allocUnsafe(most)
    let done = 0
    for (let count = -1; count !== 0 && done < most; done += count)
      count = readSync(file, bytes, done, most - done, done)
    return { bytes: bytes.subarray(0, done), isWhole: false }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_FS_FILE_TOO_LARGE')
      throw tooLarge(path, cause)
    throw new AttncError('FILE_UNREADABLE', 'usage', `"${path}" can't be read.`, {
      cause,
      suggestions: ['Check that it is a file that this user may read.'],
    })
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

const tooLarge = (path: string, cause: unknown): AttncError =>
  new AttncError('TEXT_TOO_LARGE', 'usage', `"${path}" is too large to be read whole.`, {
    cause,
    suggestions: ['Say how much of it is wanted: --samples 64. Or cut it: head -c 100M.'],
  })
