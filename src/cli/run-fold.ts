/** `attnc fold` behind its flags: an adapter of other tools becomes part of the weights. */

import { openProducts } from '../linear-algebra/products.js'
import { loadModel } from '../model-folder/load.js'
import { checkOutput } from '../model-folder/output-folder.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { foldAdapter } from '../train/adapter/adapter.js'
import { readAdapter } from '../train/adapter/adapter-file.js'
import { saveTrained } from '../train/train-folder.js'
import type { CommandContext } from './command-context.js'

export interface FoldFlags {
  readonly adapter: string
  readonly output: string
  readonly force: boolean
}

export interface FoldJson {
  /** Names of the constants that were changed. */
  readonly weights: readonly string[]
  readonly output: { readonly folder: string }
}

export async function runFold(
  path: string,
  flags: FoldFlags,
  context: CommandContext,
): Promise<{ readonly json: FoldJson; readonly lines: readonly string[] }> {
  const source = loadModel(path)
  checkOutput(flags.output, { force: flags.force, from: source.folder })
  await using products = await openProducts({})
  const weights = await foldAdapter(source.model.graph, readAdapter(flags.adapter), products)
  const { folder } = await saveTrained(
    weights,
    {},
    {
      ...context,
      source,
      output: flags.output,
      force: flags.force,
      single: isSingle(path),
    },
  )
  return {
    json: { weights: weights.map(({ name }) => name), output: { folder } },
    lines: [`Folded the adapter into ${weights.length} weights.`, `Written to ${folder}.`],
  }
}
