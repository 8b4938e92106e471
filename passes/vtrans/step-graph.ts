/**
 * One update of the masks as a graph: gates drawn anew, the loss, the price of the bottleneck, the
 * pressure towards the sparsity asked for, gradients and the optimiser. λ and the target are inputs.
 */
import type { Axis } from '../../src/axes/axis.js'
import { maskNorms } from '../../src/axes/masked-norm.js'
import { membersAlong } from '../../src/axes/members.js'
import type { Recomputation } from '../../src/gradients/backward.js'
import { addGradients } from '../../src/gradients/gradients.js'
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { takeFirstBranches } from '../../src/rewrite/first-branch.js'
import { fixSizes } from '../../src/rewrite/fix-sizes.js'
import { fuseRows } from '../../src/rewrite/fuse-rows/fuse-rows.js'
import type { Feeds } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { sizesIn } from '../../src/train/feeds.js'
import type { Objective } from '../../src/train/loss/objective.js'
import { knownOf, prepareLoss } from '../../src/train/loss/step-loss.js'
import type { Teacher } from '../../src/train/loss/teacher.js'
import { adamW, clipNorm } from '../../src/train/optimizer.js'
import { COUNT, RATE } from '../../src/train/training-graph.js'
import { type GateSite, insertGates, spread, unitOf } from './gates.js'
import { cutNoisy, cutSettled, type MaskPart } from './mask-parts.js'
import { findMasks, type MaskSet, masksIn } from './masks.js'
import { addNoiseTable, drawNoise, PLACES } from './noise.js'
import type { VtransOptions } from './options.js'
import { addPressure, addPrice, addSparsity } from './penalties.js'
import type { Resource } from './resource.js'

export const MASKS = 'attnc.masks'
const STATES = ['attnc.momentum', 'attnc.variance'] as const

export interface StepGraph {
  readonly model: Model
  readonly set: MaskSet
  /** Sites that draw noise. */
  readonly sites: number
  readonly loss: string
  /** The soft count, while masks are noisy. */
  readonly sparsity: string | undefined
  readonly norm: string
  readonly carry: Readonly<Record<string, string>>
  readonly states: readonly string[]
  /** Output of the masks: μ of all units, and while they are noisy then log σ². */
  readonly masks: string
  /** Numbers of that vector. */
  readonly length: number
}

export interface StepInput {
  readonly objective: Objective
  readonly teacher: Teacher | undefined
  readonly options: VtransOptions
  /** Masks of the model that this is a part of; all that the options allow where nothing is said. */
  readonly set?: MaskSet | undefined
  /** What is to be saved; of the same masks in the same order. */
  readonly resources: readonly Resource[]
  /**
   * [units], zeros and ones: once it is settled what stays, means alone are learned, without noise, price and
   * pressure; a channel of the stream that stays is 1, as embeddings that are tied can take no factor in.
   */
  readonly settled?: Float32Array | undefined
  readonly recompute?: Recomputation | undefined
  /** Batches of which all have these sizes. */
  readonly feeds?: Feeds | undefined
  /** Elements from which on work along rows is put together; nowhere without it. */
  readonly fusesRowsFrom?: number | undefined
}

export function buildStepGraph(source: Model, input: StepInput): StepGraph {
  const { objective, teacher, options, resources, recompute, settled } = input
  const output = source.graph.values.get(objective.output) as Value
  const model = extractSubgraph(source.graph, new Map(), [output])
  const { graph } = model
  edit(graph, 'attnc.vtrans', takeFirstBranches)
  const view = readModel(graph)
  const set = input.set ? masksIn(view, input.set) : findMasks(view, options)
  const length = settled ? set.size : 2 * set.size
  const addLoss = prepareLoss(model, objective, teacher)
  return edit(graph, 'attnc.vtrans', (change) => {
    const b = new NodeBuilder(change, inferShapes(graph))
    const head = new NodeBuilder(change, b.shapes, [...graph.nodes()][0])
    const stepLoss = addLoss(b)
    const { loss, walked } = stepLoss
    const vector = change.addInput(MASKS, 'float32', [length])
    const parts = settled ? cutSettled(head, vector, set, settled) : cutNoisy(head, vector, set)
    const draw = settled ? undefined : noiseOf(head, options)
    const sites = insertGates(b, view, set, (site) => {
      const { gate, deviation } = parts[set.masks.indexOf(site.mask)] as MaskPart
      const own = spread(site, gate, 1)
      if (!draw || !deviation) return own
      const drawn = site.builder.op('Mul', [draw.of(site), spread(site, deviation, 0)])
      return site.builder.op('Add', [drawn, own])
    })
    if (draw) change.setType(draw.places, { dataType: 'int64', dims: [sites] })
    if (input.feeds) fixSizes(change, sizesIn(input.feeds))
    maskNorms(change, view.analysis, (axis, _, node) =>
      keptAlong(new NodeBuilder(change, b.shapes, node), axis, parts, set),
    )
    const sparsity = settled ? undefined : addSparsity(b, parts, resources)
    const priced = sparsity && [addPrice(b, parts, set, options), addPressure(b, sparsity)]
    const total = priced ? b.op('Sum', [...(walked ? [walked] : []), ...priced]) : walked
    const found = addGradients(change, total, [vector], {
      recompute,
      known: knownOf(stepLoss),
    }).get(vector) as Value
    const [clipped, norm] = clipNorm(b, found, 1)
    const states = STATES.map((name) => change.addInput(name, 'float32', [length]))
    const next = adamW().update(b, {
      parameters: vector,
      gradient: clipped,
      states,
      rate: change.addInput(RATE, 'float32', []),
      count: change.addInput(COUNT, 'float32', []),
    })
    for (const each of [...graph.outputs]) change.hide(each)
    const carry: Record<string, string> = {}
    for (const [index, from] of [vector, ...states].entries()) {
      const to = next[index] as Value
      change.expose(to)
      carry[to.name] = from.name
    }
    for (const value of [loss, norm, ...(sparsity ? [sparsity] : [])]) change.expose(value)
    const { feeds, fusesRowsFrom } = input
    if (feeds && fusesRowsFrom !== undefined) fuseRows(change, inferShapes(graph), fusesRowsFrom)
    return {
      model,
      set,
      sites: draw ? sites : 0,
      loss: loss.name,
      sparsity: sparsity?.name,
      norm: norm.name,
      carry,
      states: STATES,
      masks: next[0].name,
      length,
    }
  })
}

function noiseOf(head: NodeBuilder, { seed }: VtransOptions) {
  const table = addNoiseTable(head, seed)
  const places = head.edit.addInput(PLACES, 'int64', ['attnc.sites'])
  const of = ({ builder, index, value }: GateSite): Value =>
    drawNoise(builder, { table, places, site: index }, value)
  return { places, of }
}

/** Which members of an axis that is normed are kept now. */
function keptAlong(
  b: NodeBuilder,
  axis: Axis,
  parts: readonly MaskPart[],
  { masks }: MaskSet,
): Value | undefined {
  const factors = masks.flatMap((mask, index) =>
    membersAlong(axis, mask.dimension.axis).map((members) => {
      const units = members.map((member) => unitOf(mask, member))
      return spread({ builder: b, mask, units, trailing: 0 }, (parts[index] as MaskPart).kept, 1)
    }),
  )
  return factors.reduce<Value | undefined>(
    (product, factor) => (product ? b.op('Mul', [product, factor]) : factor),
    undefined,
  )
}
