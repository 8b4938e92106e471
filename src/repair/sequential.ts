/**
 * Block after block on the model as pruned so far. First what a block reads of the stream is answered
 * for: the pruned stream is off, and weights that know by how much come nearer to what they made of the
 * dense one. Then its output projection: what it now reads, and what is missing in the stream, give the
 * weights that repair most of the damage done before it and by its own losses. The streams between
 * blocks are kept, so every block costs a few passes over its own part of the graph.
 */
import type { Batch } from '../data/batch.js'
import { edit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, TensorType, Value } from '../graph/graph.js'
import { addToBias, canShift, findBias } from '../model/bias.js'
import type { Block } from '../model/block.js'
import type { BlockRead } from '../model/reads.js'
import { canShiftUnmixed, shiftUnmixed } from '../model/unmixed.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { float32Tensor, type Tensor } from '../onnx/tensor.js'
import { type RunOptions, runBatches } from '../runtime/batches.js'
import { letGo, letGoOf } from '../runtime/let-go.js'
import { inferShapes } from '../shape/infer.js'
import { gateBlock } from './gate-block.js'
import { leaveOutOfNorms } from './leave-out-of-norms.js'
import {
  addObservation,
  DENSE,
  type Observation,
  ObservationSums,
  openDims,
  type Place,
} from './observe.js'

export interface NewProjection {
  readonly weight: Tensor
  readonly shift: Float32Array | undefined
}

/** What stays of a block that has no projection, [width], and what is said in place of the rest. */
export interface NewGate {
  readonly gate: Float32Array
  readonly shift: Float32Array | undefined
}

/** What is asked of each block, in order. */
export interface Repair<Kind extends Block> {
  /** The new weights of its projection, or what stays where there is none; undefined leaves it as it is. */
  refit(block: Kind, observation: Observation): Promise<NewProjection | NewGate | undefined>
  /** What stays of axes of the block that norms run over, once it is decided; undefined where nothing of such goes. */
  normed?(block: Kind): ReadonlyMap<string, readonly number[]> | undefined
  /** The weights of its projection for what was decided, now that norms leave the rest out. */
  refitNormed?(block: Kind, observation: Observation): Promise<NewProjection | undefined>
  /** Through which weights it reads the stream. */
  reads(block: Kind): readonly BlockRead[]
  /** Whether reads are asked for also where nothing before them was changed. */
  readonly isThorough?: boolean
  /** The new weights of one read, in the order of its projections. */
  correct(block: Kind, read: BlockRead, observation: Observation): Promise<readonly Tensor[]>
}

export interface SequentialOptions extends RunOptions {
  readonly batches: readonly Batch[]
  /** Whether projections without a bias get one. */
  readonly addBias: boolean
  /** The copy that is changed, where it isn't the model as it is. */
  readonly working?: Model
  /** What is said to be going on. */
  readonly step?: string
}

type Streams = Map<Value, RuntimeTensor[]>

/** Repairs each block in order of execution and puts its weights into a working copy. */
export async function repairInOrder<Kind extends Block>(
  model: Model,
  blocks: readonly Kind[],
  repair: Repair<Kind>,
  options: SequentialOptions,
): Promise<void> {
  const walk = new Walk(model, options.working ?? copyOf(model), options, repair)
  const groups = groupByStream(blocks)
  for (const [index, group] of groups.entries()) {
    const later = groups.slice(index + 1).flat()
    await walk.through(group, later)
    options.log.progress(options.step ?? 're-fitting', index + 1, groups.length)
  }
}

/** A model of its own that shares the constants. */
export const copyOf = (model: Model): Model =>
  extractSubgraph(model.graph, new Map(), [...model.graph.outputs])

/** Blocks that write to the stream together: parallel attention and feed-forward. */
function groupByStream<Kind extends Block>(blocks: readonly Kind[]): Kind[][] {
  const groups: Kind[][] = []
  for (const block of blocks) {
    const last = groups.at(-1)
    if (last && block.stream && last[0]?.stream === block.stream) last.push(block)
    else groups.push([block])
  }
  return groups
}

class Walk<Kind extends Block> {
  private readonly dense: Streams = new Map()
  private readonly pruned: Streams = new Map()

  constructor(
    private readonly model: Model,
    private readonly working: Model,
    private readonly options: SequentialOptions,
    private readonly repair: Repair<Kind>,
  ) {}

  async through(group: readonly Kind[], later: readonly Kind[]): Promise<void> {
    const stream = group[0]?.stream
    const after = stream && (await this.run(this.model, this.dense, [stream]))
    for (const block of group) {
      if (this.pruned.size > 0 || this.repair.isThorough) await this.correct(block)
      await this.refit(block, after?.[0])
    }
    if (!stream || later.length === 0) return
    const now = await this.run(this.working, this.pruned, [stream])
    this.dense.set(stream, after?.[0] ?? [])
    this.pruned.set(stream, now[0] ?? [])
    this.forget(later)
  }

  private async correct(block: Kind): Promise<void> {
    for (const read of this.repair.reads(block)) {
      const { value, size, tokens } = read
      const [dense] = await this.run(this.model, this.dense, [value])
      const target = { value, columns: size }
      const place = { input: value, width: size, target, tokens, hasMeans: false }
      const found = await this.observe(place, dense)
      letGo(dense ?? [])
      if (!this.repair.isThorough && !found.missing?.some((each) => each !== 0)) continue
      const weights = await this.repair.correct(block, read, found)
      letGoOf(found.moments, found.missing)
      edit(this.working.graph, 'attnc.correct', (change) => {
        for (const [index, { weight }] of read.projections.entries())
          change.setConstant(this.own(weight), weights[index] as Tensor)
      })
    }
  }

  private async refit(block: Kind, after: readonly RuntimeTensor[] | undefined): Promise<void> {
    const { input, width, turn, unfolded, tokens, stream, projection } = block
    const target =
      after && stream && projection ? { value: stream, columns: projection.columns } : undefined
    const hasMeans = this.hasMeans(block, after !== undefined)
    const place = { input, width, turn, unfolded, target, tokens, hasMeans }
    const seen = await this.observe(place, after)
    const first = await this.repair.refit(block, seen)
    letGoOf(seen.moments, seen.missing)
    const product = this.own(block.output).producer
    const normed = this.repair.normed?.(block)
    if (normed) {
      leaveOutOfNorms(this.working.graph, normed)
      // What is read may have another name behind a norm that was written anew.
      const read = product?.inputs[block.contraction.operands[0]?.input ?? 0]
      place.input = read ?? input
    }
    const found =
      (normed && (await this.repair.refitNormed?.(block, await this.observe(place, after)))) ??
      first
    if (found && 'gate' in found) return this.silence(block, found)
    if (!found || !projection || !product) return
    edit(this.working.graph, 'attnc.refit', (change) => {
      change.setConstant(this.own(projection.weight), found.weight)
      if (found.shift) addToBias(change, product, found.shift)
    })
  }

  private silence(block: Kind, { gate, shift }: NewGate): void {
    const { graph } = this.working
    const shapes = inferShapes(graph)
    edit(graph, 'attnc.silence', (change) => {
      if (shift) shiftUnmixed(change, block, shift, shapes.dataType(this.own(block.input)))
      gateBlock(change, shapes, block, () => change.constant(float32Tensor([gate.length], gate)))
    })
  }

  private hasMeans(block: Block, isCompared: boolean): boolean {
    const { projection } = block
    // Nothing else answers for what goes there.
    if (block.isUnmixed) return canShiftUnmixed(this.working.graph, block)
    if (!projection || !isCompared || !canShift(projection.node)) return false
    return this.options.addBias || findBias(projection.node, projection.columns) !== undefined
  }

  /** The same value of the working copy. */
  private own({ name }: Value): Value {
    return this.working.graph.values.get(name) as Value
  }

  /** Streams that no later block is computed from. */
  private forget(later: readonly Kind[]): void {
    const wanted = later.flatMap(({ input, stream }) => (stream ? [input, stream] : [input]))
    const part = extractSubgraph(this.model.graph, this.cuts(this.model), wanted)
    for (const stream of this.dense.keys())
      if (!part.graph.inputs.some(({ name }) => name === stream.name)) {
        letGo([...(this.dense.get(stream) ?? []), ...(this.pruned.get(stream) ?? [])])
        this.dense.delete(stream)
        this.pruned.delete(stream)
      }
  }

  private cuts(model: Model): Map<Value, TensorType> {
    return new Map(
      [...this.dense].map(([value, [first]]) => [
        model.graph.values.get(value.name) as Value,
        { dataType: first?.dataType ?? 'float32', dims: first && openDims(value.name, first) },
      ]),
    )
  }

  /** Values of each batch. */
  private async run(
    model: Model,
    streams: Streams,
    values: readonly Value[],
  ): Promise<RuntimeTensor[][]> {
    const own = values.map(({ name }) => model.graph.values.get(name) as Value)
    const part = extractSubgraph(model.graph, this.cuts(model), own)
    const collected: RuntimeTensor[][] = values.map(() => [])
    await this.each(part, streams, undefined, (results) => {
      for (const [index, { name }] of own.entries())
        collected[index]?.push(results[name] as RuntimeTensor)
    })
    return collected
  }

  /** `dense`: what the dense model has in place of the target, batch by batch. */
  private async observe(
    place: Place,
    dense: readonly RuntimeTensor[] | undefined,
  ): Promise<Observation> {
    const wanted = place.target ? [place.input, place.target.value] : [place.input]
    const part = extractSubgraph(
      this.working.graph,
      this.cuts(this.working),
      [...new Set(wanted)].map((value) => this.own(value)),
    )
    const inPart = (value: Value): Value => part.graph.values.get(value.name) as Value
    const target = place.target && { ...place.target, value: inPart(place.target.value) }
    const outputs = edit(part.graph, 'attnc.observe', (change) => {
      for (const output of [...part.graph.outputs]) change.hide(output)
      return addObservation(change, { ...place, input: inPart(place.input), target }, dense?.[0])
    })
    const sums = new ObservationSums(place, outputs)
    await this.each(part, this.pruned, dense, (results) => {
      sums.take(results)
      letGo(Object.values(results))
    })
    return sums.finish()
  }

  private async each(
    part: Model,
    streams: Streams,
    dense: readonly RuntimeTensor[] | undefined,
    take: (results: Record<string, RuntimeTensor>) => void,
  ): Promise<void> {
    const fed = (index: number): Record<string, RuntimeTensor | undefined> => ({
      [DENSE]: dense?.[index],
      ...Object.fromEntries([...streams].map(([value, tensors]) => [value.name, tensors[index]])),
    })
    const { batches } = this.options
    await runBatches(part, batches, this.options, undefined, take, (_, index) => fed(index))
  }
}
