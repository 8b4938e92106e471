/** What taking more and more of each dimension would cost, from what a pass measured on its way. */
import type { Sensitivity } from '../plan/findings.js'
import type { Plan } from '../plan/plan.js'
import { partOf } from './layers.js'
import type { LayerEntry, SensitivityMap } from './report-data.js'

const shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]

/** null where no pass measured it. */
export function mapSensitivity(plan: Plan, layers: readonly LayerEntry[]): SensitivityMap | null {
  const part = plan.parts.find(({ findings }) =>
    findings?.sensitivity?.some(({ errors }) => (errors?.length ?? 0) > 0),
  )
  const { measure, sensitivity } = part?.findings ?? {}
  if (!sensitivity) return null
  const strips = new Map(
    layers.flatMap(({ layer, strips: own }) =>
      own.map(
        (strip) => [layer === null ? strip.part : `layer.${layer}.${strip.part}`, strip] as const,
      ),
    ),
  )
  const rows = sensitivity.flatMap((each) => {
    const strip = strips.get(each.dimension)
    const layer = /^layer\.(\d+)\./.exec(each.dimension)?.[1]
    if (!each.errors?.length) return []
    const reached = strip ? strip.removed.length / strip.size : 0
    return [
      {
        layer: layer === undefined ? null : Number(layer),
        part: partOf(each.dimension),
        losses: shares.map((share) => lossAt(each, share)),
        reached,
        perMillisecond: lossPerMillisecond(each, reached > 0 ? reached : (shares[0] as number)),
      },
    ]
  })
  return { measure: measure ?? 'what is lost', shares, rows }
}

/** Between the points of the curve; null beyond its last. */
const lossAt = ({ units, gone = [], errors = [] }: Sensitivity, share: number): number | null =>
  between(gone, errors, share * units)

function between(
  places: readonly number[],
  values: readonly number[],
  place: number,
): number | null {
  const next = places.findIndex((each) => each >= place - 1e-9)
  if (next < 0) return null
  const [x, y] = [places[next] as number, values[next] as number]
  const [x0, y0] = next > 0 ? [places[next - 1] as number, values[next - 1] as number] : [0, 0]
  return x === x0 ? y : y0 + ((y - y0) * (place - x0)) / (x - x0)
}

function lossPerMillisecond(each: Sensitivity, share: number): number | null {
  const loss = lossAt(each, share)
  const saved = each.saved && between(each.gone ?? [], each.saved, share * each.units)
  return loss === null || !saved || saved <= 0 ? null : loss / saved
}
