/**
 * The page in a real browser: it opens from disk without a network, is searched, switched, printed, used
 * by keyboard, and has no fault that axe knows. Pictures of it are left in out/report (or where
 * ATTNC_ARTIFACTS says), for people to look at.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { AxeResults } from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { renderReport } from '../../src/report/render-report.js'
import { findBrowser, openBrowser } from './browser.js'
import { emptyReport, reportOf } from './report-of.js'

const executable = findBrowser()
const pictures = resolve(process.env['ATTNC_ARTIFACTS'] ?? 'out', 'report')
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const folder = mkdtempSync(join(tmpdir(), 'attnc-browser-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const hostile = '</script></style><img src=x onerror="window.broken=1">\u202e'
const pages = {
  full: renderReport(reportOf({ layers: 4, heads: 12, width: 512, name: 'blk.mlp' })),
  hostile: renderReport(reportOf({ layers: 2, name: hostile })),
  empty: renderReport(emptyReport()),
}

interface Look {
  readonly width?: number
  readonly scheme?: 'light' | 'dark'
  readonly hasScript?: boolean
}

describe.runIf(executable)('the page in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await openBrowser(executable as string)
    mkdirSync(pictures, { recursive: true })
    for (const [name, text] of Object.entries(pages)) writeFileSync(fileOf(name), text)
    process.stderr.write(`pictures of the report: ${pictures}\n`)
  })
  afterAll(() => browser?.close())

  const fileOf = (name: string): string => join(folder, `${name}.html`)

  /** What went wrong meanwhile, and what was asked of the network, is in `faults`. */
  async function open(
    name: keyof typeof pages,
    { width = 1100, scheme = 'light', hasScript = true }: Look = {},
  ): Promise<{ readonly page: Page; readonly faults: string[] }> {
    const page = await browser.newPage({
      viewport: { width, height: 900 },
      colorScheme: scheme,
      javaScriptEnabled: hasScript,
    })
    const faults: string[] = []
    page.on('pageerror', (error) => faults.push(error.message))
    page.on('console', (message) => faults.push(message.text()))
    page.on('request', (request) => {
      if (request.url() !== pathToFileURL(fileOf(name)).href) faults.push(request.url())
    })
    await page.goto(pathToFileURL(fileOf(name)).href)
    return { page, faults }
  }

  it.each(Object.keys(pages) as (keyof typeof pages)[])(
    '%s: opens from disk without a fault, a request or a script of its own',
    async (name) => {
      const { page, faults } = await open(name)
      expect(await page.locator('section').count()).toBe(8)
      expect(await page.evaluate('window.broken')).toBeUndefined()
      expect(await page.locator('img').count()).toBe(0)
      expect(faults).toEqual([])
      await page.close()
    },
  )

  it.each([
    ['full', 'light', 1100],
    ['full', 'dark', 1100],
    ['full', 'light', 390],
    ['empty', 'light', 1100],
    ['hostile', 'dark', 390],
  ] as const)('%s: has no fault that axe knows, %s, %d wide', async (name, scheme, width) => {
    const { page } = await open(name, { scheme, width })
    await page.evaluate(axe)
    const { violations } = (await page.evaluate('axe.run()')) as AxeResults
    expect(
      violations.map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html }) => html)]),
    ).toEqual([])
    await page.screenshot({
      path: join(pictures, `${name}-${scheme}-${width}.png`),
      fullPage: true,
    })
    await page.close()
  })

  it.each([390, 320])('fits a screen %d wide: only tables and pictures scroll', async (width) => {
    const { page } = await open('full', { width })
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
    await page.close()
  })

  it('finds changes by words in any order, from the keyboard', async () => {
    const { page } = await open('full')
    const rows = page.locator('.differences tbody tr:not(:has(.group)):visible')
    const all = await rows.count()
    await page.keyboard.press('/')
    await page.keyboard.type('SHAPE layer 3')
    expect(await rows.count()).toBe(9)
    expect(await page.locator('#found').textContent()).toBe(`9 of ${all}`)
    await page.keyboard.press('Escape')
    expect(await rows.count()).toBe(all)
    await page.keyboard.type('nothing of the kind')
    expect(await page.locator('.differences tbody:visible').count()).toBe(0)
    await page.close()
  })

  it('is walked through by Tab, from the link that skips the top', async () => {
    const { page } = await open('full')
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.className')).toBe('skip')
    const seen = new Set<unknown>()
    for (let press = 0; press < 40; press++) {
      await page.keyboard.press('Tab')
      seen.add(await page.evaluate('document.activeElement.ariaLabel ?? document.activeElement.id'))
    }
    for (const label of ['Light or dark', 'Layer by layer: table or picture', 'search'])
      expect([...seen]).toContain(label)
    await page.close()
  })

  it('changes between light and dark', async () => {
    const { page } = await open('full', { scheme: 'dark' })
    const paper = () => page.evaluate('getComputedStyle(document.body).backgroundColor')
    const dark = await paper()
    await page.locator('#theme').click()
    const light = await paper()
    await page.locator('#theme').click()
    expect(await paper()).toBe(dark)
    expect(light).not.toBe(dark)
    await page.close()
  })

  it('tells what a cell is', async () => {
    const { page } = await open('full')
    await page.locator('#layers rect[data-tip]').first().hover()
    expect(await page.locator('#tip').textContent()).toBe('heads 0: gone, cost 0.01')
    expect(await page.locator('#tip').isVisible()).toBe(true)
    await page.close()
  })

  it('is printed whole, on white, without what only a screen needs', async () => {
    const { page } = await open('full', { scheme: 'dark' })
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
      'rgb(255, 255, 255)',
    )
    expect(await page.locator('.top').isVisible()).toBe(false)
    // A4 less its margins.
    await page.setViewportSize({ width: 718, height: 1000 })
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(718)
    const pdf = await page.pdf({ path: join(pictures, 'full.pdf'), format: 'A4' })
    expect(pdf.length).toBeGreaterThan(10_000)
    expect(await page.locator('details:not([open])').count()).toBe(0)
    await page.close()
  })

  it('shows everything without scripts, but for the controls that need one', async () => {
    const { page } = await open('full', { hasScript: false })
    expect(await page.locator('section svg').count()).toBeGreaterThan(20)
    expect(await page.locator('#search').isVisible()).toBe(false)
    expect(await page.locator('#theme').isVisible()).toBe(false)
    await page.close()
  })
})
