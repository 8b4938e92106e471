/** What every refusal has in common: a code, an exit code, a next step, and a disk as it was. */
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { AttncError, exitCodes } from '../../src/errors.js'

/** Names and sizes of everything under a folder, links not followed. */
export const listing = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path} ${lstatSync(path).size}`)
    .sort()

/** The error that `work` ends with, once nothing under `folder` is other than before. */
export async function refusalOf(
  folder: string,
  work: () => unknown,
): Promise<{ readonly code: string; readonly exit: number; readonly message: string }> {
  const before = listing(folder)
  const error: unknown = await Promise.resolve()
    .then(work)
    .then(
      () => undefined,
      (reason: unknown) => reason,
    )
  if (!(error instanceof AttncError)) throw error ?? new Error('nothing was refused')
  expect(listing(folder)).toEqual(before)
  expect(Object.values(exitCodes)).toContain(error.oclif.exit)
  expect(error.suggestions.join(' ')).toMatch(/\S/)
  return { code: error.code, exit: error.oclif.exit, message: error.message }
}
