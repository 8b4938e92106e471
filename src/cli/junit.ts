/** Check and conditions as JUnit XML, which CI systems show as tests. */
import { AttncError } from '../errors.js'
import { writeWhole } from '../write-whole.js'

export interface JUnitCase {
  readonly name: string
  /** Skipped: CI shows it apart, as neither passed nor failed. */
  readonly result: 'passed' | 'failed' | 'skipped'
  /** What was seen, or what went wrong. */
  readonly message: string | undefined
}

function junitXml(suite: string, cases: readonly JUnitCase[]): string {
  const count = (wanted: JUnitCase['result']): number =>
    cases.filter(({ result }) => result === wanted).length
  const counts = `tests="${cases.length}" failures="${count('failed')}" skipped="${count('skipped')}"`
  const lines = cases.map(({ name, result, message }) => {
    const head = `    <testcase classname="${escaped(suite)}" name="${escaped(name)}"`
    if (message === undefined) return `${head}/>`
    const text = escaped(message)
    const tag = result === 'failed' ? 'failure' : 'skipped'
    const body =
      result === 'passed' ? `<system-out>${text}</system-out>` : `<${tag} message="${text}"/>`
    return `${head}>\n      ${body}\n    </testcase>`
  })
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="attnc" tests="${cases.length}" failures="${count('failed')}">`,
    `  <testsuite name="${escaped(suite)}" ${counts}>`,
    ...lines,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

/** Error: OUTPUT_UNWRITABLE. */
export function writeJUnit(path: string, suite: string, cases: readonly JUnitCase[]): void {
  writeWhole(path, junitXml(suite, cases))
}

/**
 * What stopped a run before there was anything to judge; nothing where it was interrupted. Error:
 * OUTPUT_UNWRITABLE.
 */
export function writeFailure(path: string, command: string, error: unknown): void {
  if (!(error instanceof AttncError) || error.kind === 'interrupted') return
  const message = `${error.message} (${error.code})`
  writeJUnit(path, `attnc ${command}`, [{ name: command, result: 'failed', message }])
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\n': '&#10;',
}

/** XML has no characters that steer terminals, not even escaped. */
const escaped = (text: string): string =>
  text.replace(/[&<>"\n]/g, (each) => entities[each] ?? each).replace(/[^\t\x20-\uFFFD]/g, '\uFFFD')
