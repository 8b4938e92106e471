/** Check and conditions as JUnit XML, which CI systems show as tests. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { AttncError } from '../errors.js'

export interface JUnitCase {
  readonly name: string
  /** What went wrong; undefined where the case passed. */
  readonly failure: string | undefined
}

export function junitXml(suite: string, cases: readonly JUnitCase[]): string {
  const failures = cases.filter(({ failure }) => failure !== undefined).length
  const counts = `tests="${cases.length}" failures="${failures}"`
  const lines = cases.map(({ name, failure }) => {
    const head = `    <testcase classname="${escaped(suite)}" name="${escaped(name)}"`
    return failure === undefined
      ? `${head}/>`
      : `${head}>\n      <failure message="${escaped(failure)}"/>\n    </testcase>`
  })
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="attnc" ${counts}>`,
    `  <testsuite name="${escaped(suite)}" ${counts}>`,
    ...lines,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

/** Error: REPORT_UNWRITABLE. */
export function writeJUnit(path: string, suite: string, cases: readonly JUnitCase[]): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, junitXml(suite, cases))
  } catch (cause) {
    throw new AttncError('REPORT_UNWRITABLE', 'usage', `"${path}" can't be written.`, { cause })
  }
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\n': '&#10;',
}

const escaped = (text: string): string =>
  text.replace(/[&<>"\n]/g, (each) => entities[each] ?? each)
