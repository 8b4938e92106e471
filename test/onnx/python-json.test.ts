/** Configs as Python writes them hold numbers that JSON lacks; they are read and come back as they were. */
import { expect, it } from 'vitest'
import { parsePythonJson, writePythonJson } from '../../src/model-folder/python-json.js'

it('Infinity and NaN stay, and the same words in strings are strings', () => {
  const text = `{
  "time_step_limit": [0.0, Infinity],
  "lowest": -Infinity,
  "share": NaN,
  "text": "NaN, \\"Infinity\\" and -Infinity"
}`
  const read = parsePythonJson(text) as Record<string, unknown>
  expect(read['text']).toBe('NaN, "Infinity" and -Infinity')
  const written = writePythonJson(read, 2)
  expect(written.replace(/\s/g, '')).toBe(text.replace('0.0', '0').replace(/\s/g, ''))
  expect(parsePythonJson(written)).toEqual(read)
})

it('what is no JSON in any other way is refused', () => {
  expect(() => parsePythonJson('{"a": infinity}')).toThrow(SyntaxError)
})
