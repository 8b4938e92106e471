/** A text file of data, whole. */
import { readFileSync } from 'node:fs'
import { AttncError } from '../errors.js'

/** Error: FILE_UNREADABLE. */
export function readDataText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new AttncError('FILE_UNREADABLE', 'usage', `"${path}" can't be read.`, {
      cause,
      suggestions: ['Check that it is a file that this user may read.'],
    })
  }
}
