/**
 * JSON as Python writes it, with Infinity and NaN, which are no JSON: read as strings that stand for them,
 * and written back as they were.
 */

/** Before what is no number of JSON; a character of no script. */
const MARK = '\uE000'

export const parsePythonJson = (text: string): unknown =>
  JSON.parse(
    text.replace(
      /("(?:[^"\\]|\\.)*")|-?\bInfinity\b|\bNaN\b/g,
      (found, inside?: string) => inside ?? JSON.stringify(MARK + found),
    ),
  )

export const writePythonJson = (value: unknown, indent?: string | number): string =>
  JSON.stringify(value, null, indent).replace(/"\uE000(-?Infinity|NaN)"/g, '$1')
