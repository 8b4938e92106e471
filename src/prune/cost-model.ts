/**
 * What members of prunable dimensions cost in time, before anything is decided: the operators that a
 * dimension runs through are timed at its whole size and at three smaller ones. Equal layers have equal
 * operators, and these are timed once. It weighs what is removed and says where to begin; what comes out is measured.
 */

import { leavesOf } from '../axes/axis.js'
import { inputsOf } from '../bench/bench.js'
import { OperatorTimes } from '../bench/operator-times.js'
import { symbolSizes } from '../data/symbol-sizes.js'
import type { Graph, Node, Value } from '../graph/graph.js'
import { silentLog } from '../log.js'
import { readModel, type TransformerModel } from '../model/model.js'
import type { ModelDimension, Role } from '../model/model-dimension.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { PlanSlice } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import { cutCopy, type Subject } from './costs.js'
import { runSize } from './measured-cost.js'
import type { Target } from './target.js'

/** Members of a dimension that are gone, and the milliseconds that saves. */
interface Knot {
  readonly gone: number
  readonly saved: number
}

/** Of all that may go. */
const shares = [1 / 3, 2 / 3, 1] as const
/** Beside a dear dimension, one that saves nothing has still some price. */
const leastPrice = 0.01

/** Steps of a width that may matter, and how much slower a smaller width may seem by chance. */
const steps = [1, 4, 8, 16, 32] as const
const chance = 1.03

export class CostModel {
  private constructor(
    private readonly curves: ReadonlyMap<string, readonly Knot[]>,
    /** Widths that are no multiple of it are no faster than the next that is. */
    readonly roundTo: number,
    private readonly roles: ReadonlyMap<string, Role>,
  ) {}

  /** Times what the dimensions of `most` run through; `most` lists all members that could go. */
  static async measure(
    subject: Subject,
    most: readonly PlanSlice[],
    { kind, shape }: Pick<Target, 'kind' | 'shape'>,
    options: RunOptions,
  ): Promise<CostModel> {
    const view = readModel(cutCopy(subject).model.graph)
    const chosen = view.dimensions.filter(({ id }) => most.some((each) => each.dimension === id))
    const size = runSize(kind, subject.source, shape)
    const timer = await CutTimer.open({ subject, view, size, options }, chosen)
    const curves = new Map<string, Knot[]>(chosen.map(({ id }) => [id, []]))
    for (const role of new Set(chosen.map((each) => each.role)))
      for (const share of shares) {
        const own = new Map(chosen.filter((each) => each.role === role).map((d) => [d.id, d]))
        const slices = most.flatMap((slice) => cutTo(slice, own.get(slice.dimension), share))
        const saved = await timer.saved(slices)
        for (const { dimension, remove } of slices)
          curves.get(dimension)?.push({ gone: remove.length, saved: saved.get(dimension) ?? 0 })
      }
    const widest = chosen
      .filter(({ role, granularity }) => role === 'width' && granularity === 1)
      .sort((one, other) => other.size - one.size)[0]
    const roundTo = widest ? await findStep(timer, widest) : 1
    const roles = new Map(chosen.map(({ id, role }) => [id, role]))
    const risen = new Map([...curves].map(([id, knots]) => [id, rising(knots)]))
    return new CostModel(risen, roundTo, roles)
  }

  /** What a member of each dimension takes, where many go: milliseconds, or these times what a role is worth. */
  prices(scales: ReadonlyMap<string, number> = new Map()): Map<string, number> {
    const ends = [...this.curves].flatMap(([id, knots]) => {
      const last = knots.at(-1)
      const scale = scales.get(this.roles.get(id) ?? '') ?? 1
      return last ? [{ id, gone: last.gone, saved: last.saved * scale }] : []
    })
    const least = leastPrice * Math.max(...ends.map(({ saved }) => saved))
    return new Map(ends.map(({ id, gone, saved }) => [id, Math.max(saved, least) / gone]))
  }

  /** Slices of each role together, where they save anything. */
  byRole(slices: readonly PlanSlice[]): Map<string, PlanSlice[]> {
    const found = new Map<string, PlanSlice[]>()
    for (const slice of slices) {
      const role = this.roles.get(slice.dimension)
      if (role === undefined || this.saved([slice]) <= 0) continue
      found.set(role, [...(found.get(role) ?? []), slice])
    }
    return found
  }

  /** Milliseconds that go with what goes. */
  saved(slices: readonly PlanSlice[]): number {
    return slices.reduce((sum, { dimension, remove }) => {
      const knots = [{ gone: 0, saved: 0 }, ...(this.curves.get(dimension) ?? [])]
      const after = Math.max(
        1,
        knots.findIndex(({ gone }) => gone >= remove.length),
      )
      const [low, high] = [knots[after - 1], knots[after]]
      if (!low || !high) return sum
      const share = (remove.length - low.gone) / (high.gone - low.gone)
      return sum + low.saved + share * (high.saved - low.saved)
    }, 0)
  }
}

/** The step of a width, by the times of the operators along it. */
async function findStep(timer: CutTimer, { id, size }: ModelDimension): Promise<number> {
  const round = Math.floor((0.7 * size) / 64) * 64
  if (round < 64) return 1
  return await smallestStep(round, async (kept) => {
    const remove = Array.from({ length: size - kept }, (_, i) => kept + i)
    const saved = await timer.saved([{ dimension: id, remove }])
    return timer.whole(id) - (saved.get(id) ?? 0)
  })
}

/** The smallest step down from a round width that isn't slower than the round width. */
export async function smallestStep(
  round: number,
  timeAt: (kept: number) => Promise<number>,
): Promise<number> {
  const whole = await timeAt(round)
  for (const step of steps) if ((await timeAt(round - step)) <= whole * chance) return step
  return steps.at(-1) ?? 1
}

interface Timed {
  readonly subject: Subject
  readonly view: TransformerModel
  readonly size: ReturnType<typeof runSize>
  readonly options: RunOptions
}

/** Operators along some dimensions, timed whole and cut. */
class CutTimer {
  private constructor(
    private readonly timed: Timed,
    private readonly times: OperatorTimes,
    /** With the dimensions that each node works along. */
    private readonly owners: ReadonlyMap<Node, ReadonlySet<string>>,
    private readonly before: readonly number[],
  ) {}

  static async open(timed: Timed, dimensions: readonly ModelDimension[]): Promise<CutTimer> {
    const owners = findOwners(timed.view, dimensions)
    const times = new OperatorTimes(timed.options)
    const dense = cutCopy(timed.subject)
    const shapes = await shapesOf(dense, timed.size)
    const nodes = [...owners.keys()].flatMap((node) => counterpart(node, dense.model.graph) ?? [])
    return new CutTimer(timed, times, owners, await times.measure(nodes, shapes))
  }

  /** Milliseconds of all operators along a dimension. */
  whole(id: string): number {
    let at = 0
    let sum = 0
    for (const own of this.owners.values()) {
      const time = this.before[at++] ?? 0
      if (own.has(id)) sum += time
    }
    return sum
  }

  /** Milliseconds that each dimension saves, what two of them share in halves. */
  async saved(slices: readonly PlanSlice[]): Promise<Map<string, number>> {
    const { subject, size } = this.timed
    const cut = cutCopy({ ...subject, parts: [...subject.parts, { slices }] })
    const ids = new Set(slices.map(({ dimension }) => dimension))
    const shapes = await shapesOf(cut, size)
    const saved = new Map<string, number>()
    for (const [index, [node, all]] of [...this.owners].entries()) {
      const own = [...all].filter((id) => ids.has(id))
      const other = own.length > 0 ? counterpart(node, cut.model.graph) : undefined
      if (!other) continue
      const [after = 0] = await this.times.measure([other], shapes)
      const difference = ((this.before[index] ?? 0) - after) / own.length
      for (const id of own) saved.set(id, (saved.get(id) ?? 0) + difference)
    }
    return saved
  }
}

/** Nodes that read or write something along the dimensions, in order, with these. */
function findOwners(
  { graph, analysis }: TransformerModel,
  dimensions: readonly ModelDimension[],
): Map<Node, ReadonlySet<string>> {
  const ids = new Map(dimensions.map(({ axis, id }) => [axis, id]))
  const idsOf = (value: Value | undefined): string[] =>
    (value && analysis.axes(value))
      ?.flatMap(leavesOf)
      .map((leaf) => ids.get(leaf) ?? '')
      .filter(Boolean) ?? []
  const found = new Map<Node, ReadonlySet<string>>()
  for (const node of graph.nodes()) {
    // Of two branches one runs: that without a cache, as latency is measured.
    if (node.branch?.isAgain) continue
    const own = new Set([...node.inputs, ...node.outputs].flatMap(idsOf))
    if (own.size > 0) found.set(node, own)
  }
  return found
}

/** The node that makes the same value in a graph that was cut. */
const counterpart = (node: Node, graph: Graph): Node | undefined => {
  const name = node.outputs.find((output) => output)?.name
  return name === undefined ? undefined : graph.values.get(name)?.producer
}

/** The first members of a slice, in whole units. */
function cutTo(
  { dimension, remove }: PlanSlice,
  found: ModelDimension | undefined,
  share: number,
): PlanSlice[] {
  if (!found) return []
  const { granularity } = found
  const count = Math.max(1, Math.round((share * remove.length) / granularity)) * granularity
  return [{ dimension, remove: remove.slice(0, count) }]
}

/** Each knot saves as much as those before it or more: noise must not make a smaller model slower. */
function rising(knots: readonly Knot[]): Knot[] {
  let most = 0
  return knots
    .filter(({ gone }, index) => gone > (knots[index - 1]?.gone ?? 0))
    .map(({ gone, saved }) => {
      most = Math.max(most, saved)
      return { gone, saved: most }
    })
}

/** Sizes of all values where the model runs on the shape. */
async function shapesOf(source: LoadedModel, size: ReturnType<typeof runSize>): Promise<ShapeInfo> {
  const { graph } = source.model
  const { feeds } = await inputsOf(source, Number.POSITIVE_INFINITY, {
    ...size,
    log: silentLog,
  })
  return inferShapes(graph, { overrides: symbolSizes(graph, (name) => feeds[name]?.dims) })
}
