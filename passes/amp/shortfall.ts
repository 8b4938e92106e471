/** Why less goes than the ratio asks for: blocks keep something, and units go whole. */
import type { Demand } from '../../src/plan/pass.js'
import { isHeads, removedParameters } from '../../src/repair/allocate.js'
import type { Choice } from '../../src/repair/prunable.js'
import type { AmpOptions } from './options.js'
import { mostUnits } from './rank.js'

/** Less than this share of what was asked for is no shortfall. */
const TOLERANCE = 0.05

export function explainShortfall(
  counts: ReadonlyMap<Choice, number>,
  prunable: number,
  { ratio, prices }: Demand,
  options: Pick<AmpOptions, 'allocation' | 'ratio' | 'roundTo'>,
): string | undefined {
  // Of what is not parameters, whoever priced it looks at what came out.
  if (prices) return undefined
  const asked = ratio * prunable
  const removed = removedParameters(counts)
  if (asked - removed <= TOLERANCE * asked) return undefined
  const share = (amount: number): string => `${((100 * amount) / prunable).toFixed(1)} %`
  const said = `${share(removed)} of the parameters of blocks go, and ${share(asked)} were asked for: `
  const open = [...counts].filter(([choice, count]) => count < mostUnits(choice, options))
  if (options.allocation === 'global' && open.length === 0)
    return `${said}every block keeps at least one unit and about a tenth of its width.`
  const smallest = open.toSorted(([a], [b]) => a.parametersPerUnit - b.parametersPerUnit)[0]?.[0]
  if (!smallest) return `${said}every block keeps at least one unit.`
  const { parametersPerUnit, frame } = smallest
  const unit = isHeads(smallest) ? 'head' : frame ? 'member of values' : 'neuron'
  const size = Math.round(parametersPerUnit).toLocaleString('en')
  return `${said}units go whole, and the smallest that is left is a ${unit} of ${size} parameters.`
}
