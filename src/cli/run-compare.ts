/** `attnc compare` behind its flags, and its result for people. */
import { type Comparison, compare } from '../compare/compare.js'
import type { BlockPair, Pair } from '../compare/structure.js'
import { loadModel } from '../model-folder/load.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { chooseData, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'
import { describeBytes, describeCount, table } from './text.js'

export interface CompareFlags extends DataChoice {
  readonly data?: string | undefined
  readonly numbers: boolean
  readonly provider: 'auto' | ProviderName
}

export async function runCompare(
  first: string,
  second: string,
  flags: CompareFlags,
  context: CommandContext,
): Promise<Comparison> {
  const [one, other] = [loadModel(first), loadModel(second)]
  const { data, numbers, seed } = flags
  const { name: provider } = await chooseProvider(flags.provider)
  return compare(one, other, {
    ...context,
    provider,
    numbers,
    seed,
    inputs: data === undefined ? undefined : (source) => chooseData(source, data, flags, context),
  })
}

/** Constants in the table; `--json` has all. */
const shownConstants = 10

export function describeComparison({ structure, outputs, data }: Comparison): string[] {
  const { parameters, bytes, layers, blocks, constants } = structure
  const named = [
    ...structure.operators.map(({ name, ...pair }) => ['operator', name, ...cells(pair)]),
    ...structure.inputs.map(({ name, ...pair }) => ['input', name, ...cells(pair)]),
    ...structure.outputs.map(({ name, ...pair }) => ['output', name, ...cells(pair)]),
    ...structure.opsets.map(({ name, ...pair }) => ['opset', name, ...cells(pair)]),
    ...structure.metadata.map(({ name, ...pair }) => ['metadata', name, ...cells(pair)]),
    ...constants.changed
      .slice(0, shownConstants)
      .map(({ name, change, ...pair }) => [`constant, ${change}`, name, ...cells(pair)]),
  ]
  const hidden = constants.changed.length - shownConstants
  return [
    `parameters ${arrow(parameters, describeCount)} · weights ${arrow(bytes, describeBytes)} · layers ${arrow(layers, String)}`,
    '',
    ...table(['layer', 'block', 'before', 'after'], blocks.map(blockRow)),
    '',
    ...(named.length > 0 ? table(['changed', 'name', 'before', 'after'], named) : []),
    ...(hidden > 0 ? [`… and ${hidden} more constants; --json has all.`] : []),
    `${constants.same} constants are the same.`,
    ...(outputs.length > 0 ? ['', ...outputTable(outputs, data)] : []),
  ]
}

function outputTable(outputs: Comparison['outputs'], data: Comparison['data']): string[] {
  const percent = (share: number | null): string =>
    share === null ? '' : `${(100 * share).toFixed(1)} %`
  return [
    ...table(
      ['output', 'largest', 'mean', 'of the largest', 'cosine', 'same best'],
      outputs.map(({ name, before, after, difference }) =>
        difference
          ? [
              name,
              difference.largest.toExponential(2),
              difference.mean.toExponential(2),
              difference.largestRelative.toExponential(2),
              difference.cosine?.toFixed(6) ?? '',
              percent(difference.agreement),
            ]
          : [name, `not compared: [${before}] → [${after}]`],
      ),
    ),
    ...(data === 'random' ? ['On random inputs: these say nothing about quality.'] : []),
  ]
}

function blockRow({ layer, block, before, after }: BlockPair): (string | number)[] {
  const text = describeSizes(before)
  const other = describeSizes(after)
  const name = block === 'feedForward' ? 'feed-forward' : `${block} attention`
  return [layer, name, text, other === text ? 'the same' : other]
}

function describeSizes(sizes: BlockPair['before']): string {
  if (!sizes) return '–'
  const { heads, keyValueHeads, headSize, valueHeadSize, width, parameters } = sizes
  const size = headSize === valueHeadSize ? headSize : `${headSize}/${valueHeadSize}`
  const shape =
    width === undefined ? `${heads}/${keyValueHeads} heads of ${size}` : `width ${width}`
  return `${shape}${parameters === null ? '' : `, ${describeCount(parameters)}`}`
}

const arrow = ({ before, after }: Pair<number>, describe: (value: number) => string): string =>
  before === after ? describe(before ?? 0) : `${describe(before ?? 0)} → ${describe(after ?? 0)}`

const cells = ({ before, after }: Pair<string | number>): string[] =>
  [before, after].map((value) => {
    const text = value === null ? '–' : String(value)
    return text.length > 48 ? `${text.slice(0, 47)}…` : text
  })
