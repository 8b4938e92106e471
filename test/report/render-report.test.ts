/** The page as text: complete, self-contained, small, and deaf to whatever names and texts say. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { html } from '../../src/report/html.js'
import { renderReport } from '../../src/report/render-report.js'
import { judgeReport } from '../../src/report/sections/verdict.js'
import { emptyReport, reportOf } from './report-of.js'

const sections = [
  'savings',
  'layers',
  'sensitivity',
  'frontier',
  'learning',
  'texts',
  'differences',
  'provenance',
]

const withoutScript = (page: string): string => page.replace(/<script>.*<\/script>/s, '')

describe('the page', () => {
  const page = renderReport(reportOf({}))

  it('has every section', () => {
    for (const id of sections) expect(page).toContain(`<section id="${id}"`)
  })

  it('loads nothing and leads nowhere', () => {
    expect(page).not.toMatch(
      /https?:|\/\/[a-z]|@import|url\(|<(link|img|iframe|object|embed|base)\b/i,
    )
    expect([...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, to]) => to)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^#/)]),
    )
    expect(page).not.toMatch(/(?:src|href)="[^#]/)
  })

  it('allows its one style and its one script, and nothing else', () => {
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? ''
    expect(policy).toContain('default-src &#39;none&#39;')
    expect(policy).not.toContain('unsafe')
    for (const tag of ['style', 'script']) {
      const [inside, ...more] = [...page.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))]
      expect(more).toEqual([])
      const digest = createHash('sha256')
        .update(inside?.[1] ?? '')
        .digest('base64')
      expect(policy).toContain(`${tag}-src &#39;sha256-${digest}&#39;`)
    }
    expect(page).not.toMatch(/<[a-z][^>]*\s(style|on\w+)=/i)
  })

  it('says what each block loses for a millisecond, where it was timed', () => {
    expect(page).toContain('<span class="number">1.2 a ms</span>')
    expect(page.match(/ a ms</g)?.length).toBe(reportOf({}).layers.length - 1)
  })

  it('is the same for the same data', () => {
    expect(renderReport(reportOf({}))).toBe(page)
  })

  it('stays under 2 MB for 100 layers of 64 heads and 14,336 neurons', () => {
    const bytes = Buffer.byteLength(
      renderReport(reportOf({ layers: 100, heads: 64, width: 14336 })),
    )
    expect(bytes).toBeLessThan(2e6)
  })

  it('says of each missing section in one line how to get it', () => {
    const empty = renderReport(emptyReport())
    expect(empty.match(/class="absent"/g)?.length).toBe(7)
    for (const id of sections) expect(empty).toContain(`<section id="${id}"`)
    expect(withoutScript(empty)).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('has no number that is none', () => {
    expect(withoutScript(page)).not.toMatch(/NaN|undefined|Infinity/)
  })
})

describe('names, texts and data', () => {
  const hostile = [
    '</script><img src=x onerror=alert(1)>',
    '</style><script>alert(1)</script>',
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '<!--',
    ']]>',
    '&lt;b&gt;',
    '\u0000\u202e\ud800',
  ]

  it.each(hostile)('%j is shown and not obeyed, wherever it stands', (name) => {
    const tags = (page: string): string[] =>
      [...page.matchAll(/<[a-z!/][^>]*>/gi)].map(([tag]) => tag)
    const skeleton = (page: string): string[] =>
      tags(page).map((tag) => tag.split(/[\s>]/)[0] as string)
    // As many tags, and the same ones, as with a harmless name of one piece.
    expect(skeleton(renderReport(reportOf({ name })))).toEqual(
      skeleton(renderReport(reportOf({ name: 'x'.repeat(name.length) }))),
    )
  })

  it('never leave a text or a quoted attribute, whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const { text: made } = html`<p title="${text}">${text}</p>`
        expect(made.match(/[<>]/g)?.length).toBe(4)
        expect(made.match(/"/g)?.length).toBe(2)
        expect(made).not.toMatch(/(?![\t\n\r])\p{Cc}|\p{Cs}|\u202e/u)
      }),
      { seed: 7, numRuns: 300 },
    )
  })
})

describe('the verdict', () => {
  const base = reportOf({})
  const ratios = (ratio: number, low: number, high: number) => ({
    ...base,
    savings: {
      ...base.savings,
      timing: { ratios: { prefill: { ratio, low, high } } } as unknown as NonNullable<
        typeof base.savings.timing
      >,
    },
  })

  it.each([
    ['faster', ratios(0.5, 0.45, 0.55), /2\.00\u00a0× the speed/],
    ['slower', ratios(1.25, 1.2, 1.3), /1\.25\u00a0× the time/],
    ['neither', ratios(0.97, 0.9, 1.05), /no measurable change in speed/],
    [
      'of fewer bits',
      { ...base, savings: { ...base.savings, diskBytes: { before: 4e6, after: 1e6 } } },
      /^75\.0\u00a0% less on disk, 20\.0\u00a0% fewer parameters/,
    ],
    [
      'not measured',
      base,
      /^20\.0\u00a0% fewer parameters, for a perplexity of 9\.400 instead of 6\.700\.$/,
    ],
  ])('says of a model that is %s what was measured', (_, data, sentence) => {
    expect(judgeReport(data).sentence).toMatch(sentence)
  })

  it('says that a model is only masked', () => {
    const parameters = { before: 1e6, after: 1e6 }
    const masked = { ...base, savings: { ...base.savings, parameters } }
    expect(renderReport(masked)).toContain('masked, not cut')
    expect(renderReport(base)).not.toContain('masked, not cut')
  })

  it('names what was not measured', () => {
    expect(judgeReport(emptyReport()).open).toEqual([
      'quality was not measured',
      'speed was not measured',
    ])
  })
})
