/**
 * The members of one dimension in a row: a cell each where they are few, else shares of neighbours. What
 * went is hollow, so that nothing hangs on colour alone.
 */
import { scaleQuantize } from 'd3-scale'
import { describeNumber } from '../amounts.js'
import { type Html, html } from './html.js'
import type { LayerEntry, Strip } from './report-data.js'

/** Shades of what a unit costs. */
export const levelCount = 7

const mostCells = 64
/** Cells get narrower where there are many. */
const cell = { width: 11, least: 5, height: 14 }
const widest = 264
const bins = 96
const binWidth = 2

/** The shade of a cost among all costs, by its logarithm; what was never asked is the dearest. */
export function costScale(layers: readonly LayerEntry[]): (cost: number | null) => number {
  const all = layers
    .flatMap(({ strips }) => strips)
    .filter(({ size }) => size <= mostCells)
    .flatMap(({ costs }) => costs ?? [])
    .filter((cost) => cost !== null && cost > 0) as number[]
  if (all.length === 0) return () => levelCount - 1
  const [low, high] = [Math.min(...all), Math.max(...all)].map(Math.log) as [number, number]
  const levels = scaleQuantize(
    [low, Math.max(high, low + 1e-9)],
    Array.from({ length: levelCount }, (_, level) => level),
  )
  return (cost) => (cost === null ? levelCount - 1 : cost > 0 ? levels(Math.log(cost)) : 0)
}

export function drawStrip(
  strip: Strip,
  noun: string,
  levelOf: (cost: number | null) => number,
): Html {
  return strip.size <= mostCells ? drawCells(strip, noun, levelOf) : drawShares(strip, noun)
}

function drawCells(
  { size, removed, costs, membersPerUnit }: Strip,
  noun: string,
  levelOf: (cost: number | null) => number,
): Html {
  const gone = new Set(removed)
  const width = Math.min(cell.width, Math.max(cell.least, Math.floor(widest / size)))
  const gap = width > 7 ? 2 : 1
  const cells = Array.from({ length: size }, (_, member) => {
    const cost = costs?.[Math.floor(member / membersPerUnit)]
    const isGone = gone.has(member)
    const kind = isGone ? 'gone' : cost === undefined ? 'kept' : `level-${levelOf(cost)}`
    const price =
      cost === undefined ? '' : cost === null ? ', dearest' : `, cost ${describeNumber(cost)}`
    return html`<rect class="${kind}" x="${member * width + 0.5}" y="0.5" width="${width - gap}" height="${cell.height - 1}" rx="1.5" data-tip="${noun} ${member}: ${isGone ? 'gone' : 'kept'}${price}"/>`
  })
  return html`<svg class="cells" width="${size * width}" height="${cell.height}" role="img" aria-label="${describeRemoved(noun, size, removed)}">${cells}</svg>`
}

const describeRemoved = (noun: string, size: number, removed: readonly number[]): string =>
  removed.length === 0
    ? `all ${size} ${noun} stay`
    : `of ${size} ${noun} go ${removed.slice(0, 32).join(', ')}${removed.length > 32 ? ' …' : ''}`

/** Neighbours together, as opaque as the share of them that stays. */
function drawShares({ size, removed }: Strip, noun: string): Html {
  const count = Math.min(bins, size)
  const gone = new Set(removed)
  const startOf = (bin: number): number => Math.ceil((bin * size) / count)
  const shares = Array.from({ length: count }, (_, bin) => {
    const [from, to] = [startOf(bin), startOf(bin + 1)]
    let kept = 0
    for (let member = from; member < to; member++) if (!gone.has(member)) kept++
    return Math.round((10 * kept) / (to - from)) / 10
  })
  const runs: { from: number; to: number; share: number }[] = []
  for (const [bin, share] of shares.entries()) {
    const last = runs.at(-1)
    if (last?.share === share) last.to = bin + 1
    else runs.push({ from: bin, to: bin + 1, share })
  }
  const width = count * binWidth
  return html`<svg class="cells" width="${width + 1}" height="${cell.height}" role="img" aria-label="${size - removed.length} of ${size} ${noun} stay" data-tip="${noun}: ${size - removed.length} of ${size} stay"><rect class="gone" x="0.5" y="0.5" width="${width}" height="${cell.height - 1}"/>${runs
    .filter(({ share }) => share > 0)
    .map(
      ({ from, to, share }) =>
        html`<rect class="kept" x="${from * binWidth + 0.5}" y="0.5" width="${(to - from) * binWidth}" height="${cell.height - 1}" fill-opacity="${share}"/>`,
    )}</svg>`
}
