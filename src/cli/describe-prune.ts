/** What pruning did, as lines for people: what went, layer by layer, and what that saves and costs. */
import { describeQuality } from '../amounts.js'
import { describeCost } from '../bench/cost.js'
import type { Verdict } from '../evaluate/verdict.js'
import type { FolderResult } from '../prune/apply-to-folder.js'
import type { MeasuredPair } from '../prune/measure-pair.js'
import type { ReportRow } from '../prune/report.js'
import { shareOf, type TargetResult } from '../prune/target-scale.js'
import { describeVerdicts } from './evaluation.js'
import { counted, describeBytes, describeChange, describeCount, table } from './text.js'

export function describeResult(
  result: FolderResult & {
    readonly measured?: readonly MeasuredPair[]
    readonly targets?: readonly TargetResult[]
    readonly verdicts?: readonly Verdict[]
  },
): string[] {
  return [
    ...(result.rows.length > 0 ? [...describeRows(result.rows), ''] : []),
    ...describePatterns(result.attention),
    ...describeTotals(result),
    '',
    ...describeTargets(result.targets ?? []),
    ...describeVerdicts(result.verdicts ?? []),
    ...describeBits(result),
    ...describeCheck(result),
    ...describeWritten(result),
  ]
}

/** Blocks that follow the same patterns stand in one line. */
function describePatterns(attention: FolderResult['attention']): string[] {
  if (attention.length === 0) return []
  const blocks = new Map<string, string[]>()
  for (const { block, patterns } of attention) {
    const counts = new Map<string, number>()
    for (const pattern of patterns) counts.set(pattern, (counts.get(pattern) ?? 0) + 1)
    const text = [...counts].map(([pattern, count]) =>
      patterns.length === 1 ? pattern : `${count} × ${pattern}`,
    )
    const key = text.join(', ')
    blocks.set(key, [...(blocks.get(key) ?? []), block.replace(/^attention\./, '')])
  }
  const rows = [...blocks].map(([text, names]) => [names.join(', '), text])
  return [...table(['attention', 'heads attend to'], rows), '']
}

const titles: Readonly<Record<string, string>> = {
  keyValueHeads: 'kv heads',
  queryGroups: 'query groups',
  headSize: 'head size',
  valueHeadSize: 'value size',
  'expert.width': 'expert width',
}

/** A row for each layer, a column for each kind of dimension that lost something. */
function describeRows(rows: readonly ReportRow[]): string[] {
  // Experts of a layer share a column: there can be hundreds.
  const partOf = ({ dimension }: ReportRow): string =>
    dimension.replace(/^layer\.\d+\./, '').replace(/^expert\.\d+\./, 'expert.')
  const parts = [...new Set(rows.map(partOf))]
  const layers = [...new Set(rows.map(({ layer }) => layer))].sort((a, b) => (a ?? -1) - (b ?? -1))
  return table(
    ['layer', ...parts.map((part) => titles[part] ?? part), 'parameters'],
    layers.map((layer) => {
      const own = rows.filter((row) => row.layer === layer)
      const saved = own.reduce((sum, { parameters }) => sum + parameters, 0)
      return [
        layer ?? '–',
        ...parts.map((part) => {
          return describeSizes(own.filter((each) => partOf(each) === part))
        }),
        `−${describeCount(saved)}`,
      ]
    }),
  )
}

/** `64 → 40`, or `64 → 12–40` for several. */
function describeSizes(rows: readonly ReportRow[]): string {
  const range = (sizes: readonly number[]): string =>
    [...new Set([Math.min(...sizes), Math.max(...sizes)])].join('–')
  if (rows.length === 0) return ''
  return `${range(rows.map(({ size }) => size))} → ${range(rows.map(({ kept }) => kept))}`
}

function describeTotals({
  before,
  after,
  measured = [],
}: FolderResult & { readonly measured?: readonly MeasuredPair[] }): string[] {
  const row = (name: string, one: number, other: number, text: (value: number) => string) => [
    name,
    text(one),
    text(other),
    describeChange(one, other),
  ]
  return table(
    ['', 'before', 'after', 'change'],
    [
      row('parameters', before.parameters, after.parameters, describeCount),
      row('weights', before.bytes, after.bytes, describeBytes),
      row('FLOPs a token', before.flopsPerToken, after.flopsPerToken, describeCount),
      ...measured.map(({ before: was, after: { metric, value } }) =>
        was
          ? row(metric, was.value, value, describeQuality)
          : [metric, '', describeQuality(value), ''],
      ),
    ],
  )
}

function describeTargets(results: readonly TargetResult[]): string[] {
  if (results.length === 0) return []
  const rows = results.map((result) => {
    const { target, before, asked, reached, ratio, clock } = result
    const text = describeCost[target.kind]
    const share = `${shareOf(result).toFixed(3)}x`
    const interval = ratio ? ` (${ratio.low.toFixed(3)}–${ratio.high.toFixed(3)})` : ''
    const by = clock === 'processor' ? ', processor time' : ''
    return [target.text, text(before), text(asked), text(reached), `${share}${interval}${by}`]
  })
  return [...table(['target', 'before', 'asked', 'reached', ''], rows), '']
}

function describeBits({ bits: kept }: FolderResult): string[] {
  if (kept.length === 0) return []
  const parts = kept.map(({ bits, weights }) =>
    weights === undefined
      ? `the model in ${bits} bits`
      : `${counted(weights, 'weight')} in ${bits} bits`,
  )
  return [`Kept: ${parts.join(', ')}.`]
}

function describeCheck({ check }: FolderResult): string[] {
  if (!check) return []
  const { largest, bound, hasBranches } = check
  const ways = hasBranches ? ', with its cache and without' : ''
  return [
    largest === 0
      ? `Checked: outputs equal the masked model's${ways}.`
      : `Checked: outputs differ from the masked model's${ways} by ${largest.toExponential(0)} of the largest; ${bound} is allowed.`,
  ]
}

function describeWritten({ written }: FolderResult): string[] {
  if (!written) return ['Nothing was written.']
  const bytes = written.files.reduce((sum, file) => sum + file.bytes, 0)
  const models = written.files.filter(({ name }) => name.endsWith('.onnx'))
  const names = models.map(({ name }) => name).join(', ')
  return [`Wrote ${written.folder}: ${names}; ${describeBytes(bytes)} in all.`]
}
