/** Which blocks of attention can follow a pattern, what their masks say, and why the others can't. */
import { LARGEST_HEAD } from '../../kernels/block-attention/can-run.js'
import { AttncError } from '../errors.js'
import { edit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model } from '../graph/graph.js'
import { readModel, type TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { needs, raiseOpset } from '../rewrite/raise-opset.js'
import { againOf } from './again.js'
import { countHeads } from './heads.js'
import type { MaskFacts } from './mask-facts.js'
import { probeMasks } from './probe-masks.js'
import { type ReadAttention, readAttention } from './read.js'
import { Unreadable } from './unreadable.js'
import { writeOut } from './write-out.js'

export interface Examined {
  /** `attention.3`. */
  readonly key: string
  readonly layer: number
  readonly kind: LayeredAttention['kind']
  readonly heads: number
  readonly masks: MaskFacts | undefined
  /** undefined: it can. */
  readonly reason: string | undefined
}

export interface OpenedModel {
  readonly model: Model
  readonly view: TransformerModel
  readonly reasons: ReadonlyMap<number, string>
}

/** A copy with fused attention written out, as far as that can be. */
export function openCopy({ graph }: Model): OpenedModel {
  const model = extractSubgraph(graph, new Map(), graph.outputs)
  const reasons = new Map<number, string>()
  edit(model.graph, 'attnc.raise', (change) => raiseOpset(change, needs.sparse))
  const blocks = readModel(model.graph).attention.length
  for (let index = 0; index < blocks; index++) {
    const view = readModel(model.graph)
    const block = view.attention[index]
    if (block?.kind !== 'self') continue
    try {
      edit(model.graph, 'attnc.open', (change) =>
        writeOut(change, view, [block, ...againOf(block)]),
      )
    } catch (error) {
      if (!(error instanceof AttncError)) throw error
      reasons.set(index, error.message)
    }
  }
  return { model, view: readModel(model.graph), reasons }
}

/** What the operators' kernels take, less numbers beside queries and keys that carry masks. */
function checkHeadSizes({ analysis }: TransformerModel, { query, value }: ReadAttention): void {
  const sizes = [query, value].map((each) => analysis.shapes.dims(each)?.at(-1)?.value ?? 0)
  const largest = Math.max(...sizes)
  if (largest > LARGEST_HEAD - 2)
    throw new Unreadable(
      `its heads have ${largest} numbers; the largest that can is ${LARGEST_HEAD - 2}`,
    )
}

/** Throws `Unreadable` where the other branch of the model can't follow. */
function readAgain(view: TransformerModel, block: LayeredAttention): void {
  const again = againOf(block)
  // What stands in no branch is done in one way alone.
  if (again.length === 0 && block.node.branch)
    throw new Unreadable('the branch with a cache has no attention of its weights')
  for (const each of again)
    try {
      readAttention(view, each)
    } catch (error) {
      throw error instanceof Unreadable
        ? new Unreadable(`in the branch with a cache, ${error.message}`)
        : error
    }
}

export async function examine(source: Model, signal?: AbortSignal): Promise<Examined[]> {
  const { model, view, reasons } = openCopy(source)
  const read = new Map<LayeredAttention, ReadAttention>()
  const why = new Map<LayeredAttention, string>()
  for (const [index, block] of view.attention.entries())
    try {
      const reason = reasons.get(index)
      if (reason !== undefined) throw new Unreadable(reason)
      const found = readAttention(view, block)
      checkHeadSizes(view, found)
      countHeads(found, found.query, view.analysis.axes(found.query) ?? [])
      read.set(block, found)
      readAgain(view, block)
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
      why.set(block, error.message)
    }
  const facts = await probeMasks(model, view, [...read.values()], signal)
  return view.attention.map((block, index) => {
    const own = read.get(block)
    const masks = own && facts.get(own)
    const { layer, kind, heads } = block
    const isOpen = own && block.again && !masks?.causal
    return {
      key: `attention.${index}`,
      layer,
      kind,
      heads,
      masks,
      reason: isOpen
        ? 'it has a branch with a cache, and which keys its queries see could not be found out'
        : why.get(block),
    }
  })
}
