/**
 * attnc as a library. The command line is built on nothing else. Nothing here prints or exits: progress
 * goes to a `Log`, cancellation comes by an `AbortSignal`, errors are `AttncError` with a code that never
 * changes its meaning.
 *
 * ```ts
 * import { amp, loadModel, openData, prune, silentLog } from 'attnc'
 *
 * const source = loadModel('model/')
 * const batches = openData('text.txt', { model: source.model, folder: source.folder, samples: 64 })
 * const { before, after } = await prune({
 *   source, batches, passes: [amp({ ratio: 0.3 })], output: 'smaller/', single: false, log: silentLog,
 * })
 * ```
 */
export { amp } from '../passes/amp/index.js'
export { type AmpOptions, ampDefaults, type Criterion } from '../passes/amp/options.js'
export { lighten } from '../passes/lighten/index.js'
export { quantize } from '../passes/quantize/index.js'
export { type QuantizeOptions, quantizeDefaults } from '../passes/quantize/options.js'
export { recover } from '../passes/recover/index.js'
export { type SparsifyOptions, sparsify } from '../passes/sparsify/index.js'
export { type VocabularyOptions, vocabulary } from '../passes/vocabulary/index.js'
export { vtrans } from '../passes/vtrans/index.js'
export { type VtransOptions, vtransDefaults } from '../passes/vtrans/options.js'
export { type BenchOptions, type BenchResult, bench } from './bench/bench.js'
export { type CostName, costNames } from './bench/cost.js'
export { type CalibrationOptions, calibrate } from './calibrate/calibrate.js'
export type { Calibration } from './calibrate/state.js'
export { type CompareOptions, type Comparison, compare } from './compare/compare.js'
export type { Batch } from './data/batch.js'
export { type DataOptions, openData } from './data/open-data.js'
export { AttncError, type ExitKind, exitCodes } from './errors.js'
export { type Compared, comparedMetric } from './evaluate/compared.js'
export { type Condition, parseCondition } from './evaluate/condition.js'
export {
  checkMetrics,
  defaultMetric,
  type Evaluated,
  type EvaluateOptions,
  evaluate,
  type Measured,
} from './evaluate/evaluate.js'
export { type MetricName, metricNames } from './evaluate/metric-name.js'
export type { UndecidedRule } from './evaluate/undecided.js'
export { judge, type Verdict } from './evaluate/verdict.js'
export { type Generated, type GenerateOptions, generate } from './generate/generate.js'
export { addGradients } from './gradients/gradients.js'
export type { Graph, Model } from './graph/graph.js'
export { type Inspection, inspect } from './inspect/inspect.js'
export { type Log, silentLog } from './log.js'
export { readModel, type TransformerModel } from './model/model.js'
export type { ModelDimension } from './model/model-dimension.js'
export { type LoadedModel, type LoadOptions, loadModel } from './model-folder/load.js'
export { type SavedFolder, type SaveOptions, saveModelFolder } from './model-folder/save.js'
export { type ApplyOptions, applyPart } from './plan/apply.js'
export type {
  ChosenPass,
  Cut,
  Cutter,
  Demand,
  Outline,
  PassContext,
  Skipped,
} from './plan/pass.js'
export type {
  AttentionPatterns,
  Plan,
  PlanPart,
  PlanSlice,
  RefittedProjection,
  ReplacedWeight,
} from './plan/plan.js'
export { planFiles, readPlan } from './plan/plan-file.js'
export { parsePlan } from './plan/plan-json.js'
export { applyToFolder, type FolderOptions, type FolderResult } from './prune/apply-to-folder.js'
export type { NumericCheck } from './prune/check.js'
export type { MeasuredPair } from './prune/measure-pair.js'
export { type PruneOptions, type PruneResult, prune } from './prune/prune.js'
export type { ReportRow, Totals } from './prune/report.js'
export { type Sweep, type SweepOptions, type SweepPoint, sweep } from './prune/sweep.js'
export { parseTarget, type Target } from './prune/target.js'
export type { TargetResult } from './prune/target-scale.js'
export { gatherReport } from './report/gather.js'
export type { GatherOptions } from './report/gather-options.js'
export { renderReport } from './report/render-report.js'
export type { ReportData } from './report/report-data.js'
export type { RunOptions } from './runtime/batches.js'
export {
  type Availability,
  type ChosenProvider,
  chooseProvider,
  type ProviderName,
  probeProvider,
} from './runtime/provider.js'
export { train } from './train/train.js'
export type { TrainOptions, TrainResult } from './train/train-options.js'
export { type VerifyOptions, verify } from './verify/verify.js'
export { version } from './version.js'
