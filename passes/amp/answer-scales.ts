/**
 * What an error of each block means to the model's answers, by trying: half of what may go from a block goes,
 * re-fitted, with all others whole, and the distance of the answers from the original's is measured. Errors of
 * blocks become comparable by it, whatever lies behind them.
 */
import type { Calibration } from '../../src/calibrate/state.js'
import type { Batch } from '../../src/data/batch.js'
import { AttncError } from '../../src/errors.js'
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import { firstUses, type Model, type TensorType, type Value } from '../../src/graph/graph.js'
import type { Products } from '../../src/linear-algebra/products.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import type { Ranking } from '../../src/repair/elimination.js'
import { openDims } from '../../src/repair/observe.js'
import type { Choice, PrunableBlock } from '../../src/repair/prunable.js'
import { type RunOptions, runBatches } from '../../src/runtime/batches.js'
import { inferShapes } from '../../src/shape/infer.js'
import {
  addWeights,
  chooseObjective,
  countOf,
  type Objective,
  targetsOf,
} from '../../src/train/loss/objective.js'
import { addDistance } from '../../src/train/loss/teacher.js'
import { firstRows } from './sensitivity.js'
import { type Trial, tryHalf } from './try-half.js'

/** Input that carries the original's answers. */
const ANSWERS = 'attnc.answers'

/** Tokens that are looked at, at most, and numbers of the answers, which are kept. */
const tokenLimit = 2048
const numberLimit = 1 << 26

/** Beside the dearest block, one whose loss nobody hears still costs something. */
const least = 1e-3

export interface ScaleInput extends RunOptions {
  readonly model: Model
  readonly calibration: Calibration
  readonly batches: readonly Batch[]
}

/** By block key, what to multiply its errors with. Undefined where it can't be tried; the log says why. */
export async function measureScales(
  input: ScaleInput,
  blocks: readonly PrunableBlock[],
  rankings: ReadonlyMap<Choice, Ranking>,
  { products, ridge }: { readonly products: Products; readonly ridge: number },
): Promise<ReadonlyMap<string, number> | undefined> {
  try {
    const distances = await AnswerDistances.open(input)
    const found = new Map<string, number>()
    for (const [index, block] of blocks.entries()) {
      const trial = await tryHalf(block, input.calibration, rankings, { products, ridge })
      if (trial) found.set(block.key, (await distances.of(trial)) / trial.error)
      if (blocks[index + 1]?.stream !== block.stream) await distances.pass(block)
      input.log.progress('weighing blocks', index + 1, blocks.length)
    }
    return completed(found, blocks)
  } catch (error) {
    if (!(error instanceof AttncError) || error.kind === 'interrupted') throw error
    input.log.info(`Blocks are weighed by the size of their errors: ${error.message}`)
    return undefined
  }
}

/** Blocks that were not tried are taken for ones in the middle. */
function completed(
  found: ReadonlyMap<string, number>,
  blocks: readonly PrunableBlock[],
): ReadonlyMap<string, number> | undefined {
  const most = Math.max(0, ...found.values())
  if (!(most > 0 && Number.isFinite(most))) return undefined
  const scales = new Map([...found].map(([key, scale]) => [key, Math.max(scale, least * most)]))
  const logs = [...scales.values()].map(Math.log)
  const middle = Math.exp(logs.reduce((sum, each) => sum + each, 0) / logs.length)
  return new Map(blocks.map(({ key }) => [key, scales.get(key) ?? middle]))
}

/** The original beside itself with one weight replaced, from where the two begin to differ. */
class AnswerDistances {
  /** The stream of the original, before the blocks that come next: what is behind it is not run again. */
  private stream: { readonly value: Value; readonly tensors: readonly RuntimeTensor[] } | undefined

  private constructor(
    private readonly model: Model,
    private readonly objective: Objective,
    private readonly batches: readonly Batch[],
    private readonly answers: readonly RuntimeTensor[],
    private readonly options: RunOptions,
  ) {}

  /** Errors: NO_OBJECTIVE. */
  static async open({ model, batches, ...options }: ScaleInput): Promise<AnswerDistances> {
    const objective = chooseObjective(model, batches, true)
    const output = model.graph.values.get(objective.output) as Value
    const width = output.type?.dims?.at(-1)
    const tokens = typeof width === 'number' ? Math.floor(numberLimit / width) : tokenLimit
    const rows = firstRows(batches, Math.min(tokenLimit, tokens))
    // Labels are not carried along: only answers are compared.
    const own = chooseObjective(model, rows, true)
    const part = extractSubgraph(model.graph, new Map(), [output])
    const answers = await collect(part, rows, output.name, options)
    return new AnswerDistances(model, own, rows, answers, options)
  }

  async of({ place, change: make }: Trial): Promise<number> {
    const output = this.model.graph.values.get(this.objective.output) as Value
    const behind = extractSubgraph(this.model.graph, this.cuts(), [output])
    const found = behind.graph.values.get(place)
    const isBehind = found !== undefined && firstUses(found).length > 0
    const copy = isBehind ? behind : extractSubgraph(this.model.graph, new Map(), [output])
    const distance = edit(copy.graph, 'attnc.answers', (change) => {
      make(change)
      const { dataType, dims } = this.answers[0] as RuntimeTensor
      const open = openDims(ANSWERS, { dims } as RuntimeTensor)
      const answer = change.addInput(ANSWERS, dataType, open)
      const b = new NodeBuilder(change, inferShapes(copy.graph))
      const weights = addWeights(b, this.objective)
      const teacher = { model: this.model, share: 1, temperature: 1 }
      const taught = { answer, hidden: [] }
      const found = addDistance(b, teacher, taught, { objective: this.objective, weights })
      for (const each of [...copy.graph.outputs]) change.hide(each)
      change.expose(found)
      return found.name
    })
    let sum = 0
    let count = 0
    await runBatches(
      copy,
      this.batches,
      this.options,
      undefined,
      (results, batch) => {
        const own = countOf(targetsOf(this.objective, batch))
        sum += own * Number(results[distance]?.data[0])
        count += own
      },
      (batch, index) => ({
        ...targetsOf(this.objective, batch),
        [ANSWERS]: this.answers[index],
        ...(isBehind && this.streamOf(index)),
      }),
    )
    return sum / Math.max(count, 1)
  }

  /** Goes on behind a block. */
  async pass({ stream }: PrunableBlock): Promise<void> {
    if (!stream) return
    const part = extractSubgraph(this.model.graph, this.cuts(), [stream])
    const extra = (index: number) => this.streamOf(index)
    const tensors = await collect(part, this.batches, stream.name, this.options, extra)
    this.stream = { value: stream, tensors }
  }

  private streamOf(index: number): Record<string, RuntimeTensor | undefined> {
    return this.stream ? { [this.stream.value.name]: this.stream.tensors[index] } : {}
  }

  private cuts(): Map<Value, TensorType> {
    const [first] = this.stream?.tensors ?? []
    if (!this.stream || !first) return new Map()
    const { value } = this.stream
    return new Map([[value, { dataType: first.dataType, dims: openDims(value.name, first) }]])
  }
}

/** One value of every batch. */
async function collect(
  part: Model,
  batches: readonly Batch[],
  name: string,
  options: RunOptions,
  extra: (index: number) => Record<string, RuntimeTensor | undefined> = () => ({}),
): Promise<RuntimeTensor[]> {
  const tensors: RuntimeTensor[] = []
  await runBatches(
    part,
    batches,
    options,
    undefined,
    (results) => {
      tensors.push(results[name] as RuntimeTensor)
    },
    (_, index) => extra(index),
  )
  return tensors
}
