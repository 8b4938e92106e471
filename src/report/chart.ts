/**
 * Lines over two axes as SVG, drawn when the report is written: no script is needed to see them. Scales
 * and paths are d3's; colours and dashes are the page's (`line-0`, `line-1`, …).
 */
import { type ScaleContinuousNumeric, scaleLinear, scaleLog } from 'd3-scale'
import { line } from 'd3-shape'
import { type Content, type Html, html } from './html.js'

export interface Axis {
  readonly title: string
  readonly isLog?: boolean
  readonly describe: (value: number) => string
}

export interface Series {
  readonly name: string
  readonly points: readonly (readonly [number, number])[]
  /** Draws a dot at each point. */
  readonly hasDots?: boolean
}

/** One point with words beside it. */
export interface Mark {
  readonly at: readonly [number, number]
  readonly text: string
  /** `knee`, `here`: a class of the page. */
  readonly kind: string
}

export interface Chart {
  /** What the picture shows, for those who don't see it. */
  readonly label: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly Series[]
  readonly marks?: readonly Mark[]
}

const size = { width: 640, height: 300 }
const margin = { top: 26, right: 24, bottom: 44, left: 64 }

type Scale = ScaleContinuousNumeric<number, number>

export function drawChart({ label, x, y, series, marks = [] }: Chart): Html {
  const points = [...series.flatMap((each) => each.points), ...marks.map(({ at }) => at)]
  const right = size.width - margin.right
  const bottom = size.height - margin.bottom
  const across = scaleOf(
    x,
    points.map(([value]) => value),
    [margin.left, right],
  )
  const up = scaleOf(
    y,
    points.map(([, value]) => value),
    [bottom, margin.top],
  )
  const path = line<readonly [number, number]>(
    ([value]) => across(value),
    ([, value]) => up(value),
  ).digits(1)
  return html`<svg class="chart" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${label}">
${ticksOf(y, up).map((tick) => html`<path class="grid" d="M${margin.left} ${fixed(up(tick))}H${right}"/><text class="tick" x="${margin.left - 8}" y="${fixed(up(tick) + 4)}" text-anchor="end">${y.describe(tick)}</text>`)}
${ticksOf(x, across).map((tick) => html`<text class="tick" x="${fixed(across(tick))}" y="${bottom + 18}" text-anchor="middle">${x.describe(tick)}</text>`)}
<path class="axis" d="M${margin.left} ${bottom}H${right}"/>
<text class="title" x="${right}" y="${size.height - 6}" text-anchor="end">${x.title}</text>
<text class="title" x="${margin.left - 56}" y="14">${y.title}</text>
${series.map((each, index) => html`<path class="line line-${index}" d="${path(each.points) ?? ''}"/>${each.hasDots && dots(each, index, across, up, x, y)}`)}
${marks.map((mark) => drawMark(mark, across, up))}
</svg>`
}

/** A list that tells the lines apart. */
export const legend = (names: readonly string[]): Content =>
  names.length > 1 &&
  html`<ul class="legend">${names.map((name, index) => html`<li><svg class="swatch" width="26" height="10" aria-hidden="true"><path class="line line-${index}" d="M1 5H25"/></svg>${name}</li>`)}</ul>`

function dots(
  { points }: Series,
  index: number,
  across: Scale,
  up: Scale,
  x: Axis,
  y: Axis,
): Html[] {
  return points.map(
    ([one, other]) =>
      html`<circle class="dot line-${index}" r="3.5" cx="${fixed(across(one))}" cy="${fixed(up(other))}" data-tip="${x.title}: ${x.describe(one)} · ${y.title}: ${y.describe(other)}"/>`,
  )
}

function drawMark({ at, text, kind }: Mark, across: Scale, up: Scale): Html {
  const [x, y] = [across(at[0]), up(at[1])]
  const isRight = x > size.width - 150
  return html`<g class="mark ${kind}"><circle r="6" cx="${fixed(x)}" cy="${fixed(y)}"/><text x="${fixed(x + (isRight ? -11 : 11))}" y="${fixed(kind === 'here' ? y + 18 : y - 9)}" text-anchor="${isRight ? 'end' : 'start'}">${text}</text></g>`
}

function scaleOf({ isLog }: Axis, values: readonly number[], range: [number, number]): Scale {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  if (isLog && low > 0) return scaleLog([low / 1.15, high * 1.15], range)
  const room = low === high ? Math.abs(low) / 10 || 1 : 0
  return scaleLinear([low - room, high + room], range).nice(5)
}

/** About five; of a logarithm those that don't crowd. */
function ticksOf({ isLog }: Axis, scale: Scale): number[] {
  const ticks = scale.ticks(5)
  if (!isLog || ticks.length <= 7) return ticks
  const leading = (value: number): number => Number(value.toExponential().split('e')[0])
  for (const allowed of [[1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
    const few = ticks.filter((tick) => allowed.includes(leading(tick)))
    if (few.length <= 7)
      return few.length >= 2 ? few : ticks.filter((_, at) => at % Math.ceil(ticks.length / 6) === 0)
  }
  return ticks.filter((_, at) => at % Math.ceil(ticks.length / 6) === 0)
}

const fixed = (value: number): string => String(Number(value.toFixed(1)))
