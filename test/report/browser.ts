/** A Chromium to look at pages with: the one that `ATTNC_BROWSER` names, or one at its usual places. */
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const usual = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
]

/** undefined with the reason printed, where there is none. */
export function findBrowser(): string | undefined {
  const named = process.env['ATTNC_BROWSER']
  if (named !== undefined && !existsSync(named))
    throw new Error(`ATTNC_BROWSER names "${named}", which is not there.`)
  const found = named ?? usual.find((path) => existsSync(path))
  if (found === undefined)
    process.stderr.write(
      'skipped: there is no Chromium; install one (Debian: apt-get install chromium), or name it with ATTNC_BROWSER\n',
    )
  return found
}

export const openBrowser = (executablePath: string): Promise<Browser> =>
  // Chromium's sandbox does not work for root, as whom containers run.
  chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 })
