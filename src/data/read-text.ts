/** A text file of data, whole. */
import { readFileSync } from 'node:fs'
import { AttncError } from '../errors.js'

/** Without a byte order mark. Errors: FILE_UNREADABLE, TEXT_ENCODING. */
export function readDataText(path: string): string {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    throw new AttncError('FILE_UNREADABLE', 'usage', `"${path}" can't be read.`, {
      cause,
      suggestions: ['Check that it is a file that this user may read.'],
    })
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new AttncError('TEXT_ENCODING', 'usage', `"${path}" is not text in UTF-8.`, {
      cause,
      suggestions: ['Convert it, for instance with "iconv -f LATIN1 -t UTF-8".'],
    })
  }
}
