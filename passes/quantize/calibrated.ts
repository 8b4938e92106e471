/**
 * Codes found on data: block after block on the model as quantised so far, as AMP re-fits (src/repair). The
 * model is what the passes before left, so the moments are those of the pruned stream, and of nothing older.
 * Weights outside of blocks (a language model's head) come last, tables are rounded first.
 */
import { measure } from '../../src/calibrate/calibrate.js'
import type { Watch } from '../../src/calibrate/instrument.js'
import { finishState } from '../../src/calibrate/state.js'
import type { Batch } from '../../src/data/batch.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { openProducts, type Products, transpose } from '../../src/linear-algebra/products.js'
import { type Block, findBlocks, tokensOf } from '../../src/model/block.js'
import type { TransformerModel } from '../../src/model/model.js'
import type { Projection } from '../../src/model/projection.js'
import { type BlockRead, findReads } from '../../src/model/reads.js'
import type { Tensor } from '../../src/onnx/tensor.js'
import type { PassContext } from '../../src/plan/pass.js'
import { type Codes, dequantise } from '../../src/quantize/grid.js'
import { asWeight, firstProducts, readMatrix } from '../../src/quantize/quantizable.js'
import { nearestCodes } from '../../src/quantize/rewrite.js'
import type { Observation } from '../../src/repair/observe.js'
import {
  copyOf,
  type NewProjection,
  type Repair,
  repairInOrder,
} from '../../src/repair/sequential.js'
import type { ChosenWeight } from './choose-weights.js'
import type { QuantizeOptions } from './options.js'
import { Feedback, type Seen } from './round-with-feedback.js'

/** Codes of the weights that only products read. Tables, whose rows are looked up as well, have none. */
export async function calibratedCodes(
  context: PassContext,
  batches: readonly Batch[],
  chosen: readonly ChosenWeight[],
  options: QuantizeOptions,
): Promise<ReadonlyMap<Value, Codes>> {
  const { model, view } = context
  await using products = await openProducts(context)
  const working = copyOf(model)
  const tables = chosen.filter(({ isTable }) => isTable)
  setConstants(
    working,
    tables.map(({ weight, grid }) => [
      weight.value,
      asWeight(weight, dequantise(nearestCodes(weight, grid), grid)),
    ]),
  )
  const rounding = new BlockRounding(view, chosen, options, products)
  const walk = { ...context, batches, working, addBias: false, step: 'rounding' }
  await repairInOrder(model, findBlocks(view), rounding, walk)
  const rest = chosen.filter(({ weight, isTable }) => !isTable && !rounding.codes.has(weight.value))
  await roundTheRest(working, rest, { ...context, batches }, rounding)
  return rounding.codes
}

function setConstants(model: Model, weights: readonly (readonly [Value, Tensor])[]): void {
  edit(model.graph, 'attnc.quantize', (change) => {
    for (const [{ name }, tensor] of weights) {
      const own = model.graph.values.get(name)
      if (own) change.setConstant(own, tensor)
    }
  })
}

class BlockRounding implements Repair<Block> {
  readonly isThorough = true
  readonly codes = new Map<Value, Codes>()
  private readonly chosen: ReadonlyMap<Value, ChosenWeight>
  private readonly found: ReadonlyMap<string, readonly BlockRead[]>

  constructor(
    view: TransformerModel,
    chosen: readonly ChosenWeight[],
    private readonly options: QuantizeOptions,
    private readonly products: Products,
  ) {
    this.chosen = new Map(
      chosen.filter(({ isTable }) => !isTable).map((each) => [each.weight.value, each]),
    )
    this.found = findReads(view)
  }

  reads({ key }: Block): readonly BlockRead[] {
    const all = this.found.get(key) ?? []
    return all.filter(({ projections }) => projections.some(({ weight }) => this.isOpen(weight)))
  }

  async refit({ projection }: Block, seen: Observation): Promise<NewProjection | undefined> {
    if (!projection || !this.isOpen(projection.weight)) return undefined
    const feedback = await Feedback.of(seen, this.options.ridge, this.products)
    const weight = seen.missing
      ? await feedback.adjust(projection.read(), seen.missing)
      : projection.read()
    return { weight: await this.round(projection.weight, weight, feedback), shift: undefined }
  }

  async correct(_: Block, { projections }: BlockRead, seen: Observation): Promise<Tensor[]> {
    const feedback = await Feedback.of(seen, this.options.ridge, this.products)
    const change =
      seen.missing?.some((each) => each !== 0) === true
        ? await feedback.adjust(new Float64Array(seen.moments.length), seen.missing)
        : undefined
    const tensors: Tensor[] = []
    for (const projection of projections) {
      const { weight } = projection
      if (!this.isOpen(weight)) tensors.push(weight.constant as Tensor)
      else tensors.push(await this.round(weight, await this.moved(projection, change), feedback))
    }
    return tensors
  }

  /** Weights that were not rounded before. */
  private isOpen(weight: Value): boolean {
    return this.chosen.has(weight) && !this.codes.has(weight)
  }

  /** W + C·W, C being what estimates the dense stream from the one that is read. */
  private async moved(
    { rows, columns, read }: Projection,
    change: Float64Array | undefined,
  ): Promise<Float64Array> {
    const numbers = read()
    if (!change) return numbers
    const step = await this.products.multiply(
      { rows, columns: rows, numbers: change },
      { rows, columns, numbers },
    )
    return numbers.map((each, i) => each + (step.numbers[i] as number))
  }

  /** Notes the codes of a weight given as [inputs, outputs]; returns what they stand for. */
  async round(value: Value, numbers: Float64Array, feedback: Feedback): Promise<Tensor> {
    const { weight, grid } = this.chosen.get(value) as ChosenWeight
    const codes = await feedback.round(numbers, grid, weight.tensor.dataType)
    this.codes.set(value, codes)
    return asWeight(weight, dequantise(codes, grid))
  }

  /** As `round`, from what its inputs are alone. */
  async roundAlone({ weight }: ChosenWeight, seen: Seen): Promise<void> {
    const feedback = await Feedback.of(seen, this.options.ridge, this.products)
    const numbers = readMatrix(weight)
    const turned = transpose({ rows: weight.outputs, columns: weight.inputs, numbers }).numbers
    await this.round(weight.value, turned, feedback)
  }
}

/** Weights of no block: on the inputs that they have once all blocks are quantised. */
async function roundTheRest(
  working: Model,
  rest: readonly ChosenWeight[],
  context: PassContext & { readonly batches: readonly Batch[] },
  rounding: BlockRounding,
): Promise<void> {
  const { view } = context
  const inputs = new Map<Value, Watch>()
  for (const { weight } of rest)
    for (const { input } of firstProducts(weight))
      inputs.set(input, {
        key: input.name,
        value: working.graph.values.get(input.name) as Value,
        size: weight.inputs,
        dataType: view.analysis.shapes.dataType(input) ?? 'float32',
        tokens: tokensOf(view, input),
        moments: true,
        stream: undefined,
      })
  if (inputs.size === 0) return
  const watches = [...inputs.values()]
  const measured = finishState(await measure(working, { ...context, moments: true, watches }))
  for (const each of rest) {
    const [first] = firstProducts(each.weight)
    const { moments, tokens } = (first && measured.get(first.input.name)) ?? {}
    if (moments && tokens) await rounding.roundAlone(each, { moments, tokens })
  }
}
