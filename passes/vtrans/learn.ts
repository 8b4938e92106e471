/**
 * The loop that learns masks: seeded batches, a target that rises to the sparsity asked for, multipliers
 * that rise while it is missed (CoFi, Xia et al. 2022; as TVA-Prune's code sets them, docs/passes/vtrans.md).
 */
import { generator } from '../../src/data/generator.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import type { TrainingPoint } from '../../src/plan/findings.js'
import { sizesOfFeeds } from '../../src/train/feeds.js'
import { shareOfRate } from '../../src/train/optimizer.js'
import { samplesOf } from '../../src/train/sampling.js'
import { STEEPEST } from './bottleneck.js'
import type { LearnInput } from './input.js'
import { MaskRun, scalar } from './mask-run.js'
import { findMasks, type Mask } from './masks.js'
import { measureResources } from './measure-resource.js'
import { Multipliers } from './multipliers.js'
import { sharesOf, type VtransOptions } from './options.js'
import { PRESSURE, SLOPE, TARGET } from './penalties.js'
import type { Resource } from './resource.js'
import { assertReachable, type MaskValues, type Selection, selectUnits } from './select.js'
import { findUnheard } from './unheard.js'
import { workOf } from './work.js'

export interface LearnedMasks extends MaskValues {
  readonly selected: readonly Selection[]
  /** How learning went; undefined where nothing was learned by gradients. */
  readonly curve?: readonly TrainingPoint[]
}

/** Errors: NOTHING_PRUNABLE, RATIO_UNREACHABLE, NO_OBJECTIVE, LOSS_NOT_FINITE, those of gradients. */
export async function learnMasks(input: LearnInput, options: VtransOptions): Promise<LearnedMasks> {
  const { model } = input
  const { ratio, rate, warmup } = options
  const { noisy: updates } = sharesOf(options)
  const protect = [...options.protect, ...findUnheard(input, options)]
  const set = findMasks(input.view, { ...options, protect })
  const resources = await measureResources(input, set.masks, options)
  assertReachable(set.masks, resources, options)
  const initial = initialMasks(set.size, options)
  const given = {
    ...input,
    teacher: model,
    set,
    resources: pressedOn(input, set.masks, resources, options),
    initial,
    updates,
    what: 'learning masks',
  }
  await using run = await MaskRun.open(given, options)
  const multipliers = new Multipliers(updates)
  for (let at = 0; at < updates; at++) {
    const target = ratio * Math.min(1, (at + 1) / Math.ceil(updates * warmup))
    const sparsity = await run.update(rate * shareOfRate('linear', at, updates, 0), {
      [PRESSURE]: tensorOf('float32', [2], multipliers.values),
      [SLOPE]: scalar(STEEPEST ** Math.min(1, at / (0.7 * updates))),
      [TARGET]: scalar(target),
    })
    multipliers.rise((sparsity ?? 0) - target)
  }
  const means = run.masks.slice(0, set.size)
  const logVariances = run.masks.slice(set.size)
  const selected = selectUnits({ set, resources, means, logVariances }, options)
  return { set, resources, means, logVariances, selected, curve: run.curve }
}

/**
 * What the pressure on masks counts. Where the ratio is of parameters it is the work of a prompt:
 * of two units that are as many parameters and as dear to the answers, the one goes that takes
 * longer; how many go, parameters say in the end.
 */
function pressedOn(
  { view, batches }: LearnInput,
  masks: readonly Mask[],
  resources: readonly Resource[],
  { target }: VtransOptions,
): readonly Resource[] {
  if (target !== 'parameters') return resources
  const feeds = samplesOf(batches.slice(0, 1))[0]?.feeds ?? {}
  return [workOf(view, masks, sizesOfFeeds(view.graph, feeds))]
}

/** μ near 1 and σ² as the options say, drawn so that no two units are alike. */
function initialMasks(size: number, { noise, seed }: VtransOptions): Float32Array {
  const random = generator(seed)
  const near = (center: number): number[] =>
    Array.from({ length: size }, () => center + (random() - 0.5) * 0.02)
  return Float32Array.from([...near(1), ...near(noise)])
}
