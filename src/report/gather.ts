/**
 * Everything a report shows of an original and of what was made from it: read from both folders and from
 * what runs said, or measured here where that is asked for.
 */
import { cpus, totalmem } from 'node:os'
import { basename } from 'node:path'
import { describeBytes } from '../amounts.js'
import { compareStructure } from '../compare/structure.js'
import { AttncError } from '../errors.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import type { Plan } from '../plan/plan.js'
import { cacheCosts, costsOf, type Subject } from '../prune/costs.js'
import { totalsOf } from '../prune/report.js'
import { runtimeVersion } from '../runtime/provider.js'
import { version } from '../version.js'
import type { GatherOptions } from './gather-options.js'
import { describeLayers } from './layers.js'
import { readMade } from './made.js'
import { qualityOf, textsOf, timingOf } from './measure.js'
import type { Change, Fact, NamedTraining, ReportData, Savings } from './report-data.js'
import type { PruneRun, RunFile } from './run-file.js'
import { mapSensitivity } from './sensitivity-map.js'

/** Errors: REPORT_NO_PLAN, REPORT_OTHER_MODEL, REPORT_OTHER_PLAN, REPORT_OTHER_RUN; of plans, data and sessions. */
export async function gatherReport(options: GatherOptions): Promise<ReportData> {
  const { before, after, single, runs = [], log } = options
  const made = await readMade(options)
  const { plan } = made
  const [beforeView, afterView] = [readModel(before.model.graph), readModel(after.model.graph)]
  const views = { before: beforeView, after: afterView }
  const totals = {
    before: totalsOf(before.model, views.before),
    after: totalsOf(after.model, views.after),
  }
  checkRuns(runs, { before: totals.before.parameters, after: totals.after.parameters })
  const subjects: Change<Subject> = {
    before: { source: before, single, parts: [] },
    after: { source: after, single, parts: [] },
  }
  const prune = runs.find(({ kind }) => kind === 'prune')?.run as PruneRun | undefined
  log.info('Comparing the graphs.')
  const layers = describeLayers({
    plan,
    views,
    cacheCosts: { before: cacheCosts(subjects.before), after: cacheCosts(subjects.after) },
  })
  const cache = {
    before: costsOf(subjects.before, true).kv,
    after: costsOf(subjects.after, true).kv,
  }
  const disk = diskBytes(options)
  const savings: Savings = {
    parameters: changeOf(totals, ({ parameters }) => parameters),
    diskBytes: disk,
    flopsPerToken: changeOf(totals, ({ flopsPerToken }) => flopsPerToken),
    cacheBytesPerToken: cache.before > 0 ? cache : null,
    timing: await timingOf(options),
  }
  return {
    format: 1,
    names: { before: nameOf(before, single), after: nameOf(after, single) },
    savings,
    quality: await qualityOf(options, prune),
    layers,
    sensitivity: mapSensitivity(plan, layers),
    frontier: runs.find((each) => each.kind === 'sweep')?.run ?? null,
    training: [...made.training, ...trainingOf(plan, runs)],
    texts: await textsOf(options),
    difference: compareStructure(before.model, after.model),
    provenance: {
      created: (options.created ?? new Date()).toISOString(),
      by: `attnc ${version}`,
      input: made.input,
      passes: plan.parts.map(({ pass, options: chosen }) => ({
        name: pass ?? 'by hand',
        options: chosen ?? null,
      })),
      machine: machineFacts(),
      run: runFacts(plan, prune, options),
      check: prune?.check ?? null,
      targets: prune?.targets ?? [],
      conditions: prune?.conditions ?? [],
      skipped: prune?.skipped ?? [],
    },
  }
}

const changeOf = <Item>(pair: Change<Item>, of: (item: Item) => number): Change<number> => ({
  before: of(pair.before),
  after: of(pair.after),
})

const nameOf = ({ folder, file }: LoadedModel, single: boolean): string =>
  single ? `${basename(folder)}/${file}` : basename(folder)

/** Measurements of other models are not shown as if they were of these. */
function checkRuns(runs: readonly RunFile[], parameters: Change<number>): void {
  const other = (what: string, is: number, not: number): AttncError =>
    new AttncError(
      'REPORT_OTHER_RUN',
      'usage',
      `A ${what} is of a model with ${is.toLocaleString('en')} parameters; this one has ${not.toLocaleString('en')}.`,
      { suggestions: ['Give what was measured on these two models, or measure it anew.'] },
    )
  for (const { kind, run } of runs) {
    if (kind === 'train') continue
    const [first, second] =
      kind === 'prune'
        ? [run.before.parameters, run.after.parameters]
        : kind === 'bench'
          ? run.models.map((each) => each.parameters)
          : [run.points.find(({ ratio }) => ratio === 0)?.parameters, undefined]
    if (first !== undefined && first !== parameters.before)
      throw other(`${kind} run`, first, parameters.before)
    if (second !== undefined && second !== parameters.after)
      throw other(`${kind} run`, second, parameters.after)
  }
}

/** Of the models that both folders have; data that several share counts once. */
function diskBytes({ before, after, single }: GatherOptions): Change<number> {
  const models = single
    ? null
    : before.location.models.filter((file) => after.location.models.includes(file))
  const bytesOf = (source: LoadedModel): number => {
    const files = new Map<string, number>()
    const names = models && models.length > 0 ? models : [source.file]
    for (const file of names)
      for (const { path, size } of loadFrom(source.location, file).files()) files.set(path, size)
    return [...files.values()].reduce((sum, size) => sum + size, 0)
  }
  return { before: bytesOf(before), after: bytesOf(after) }
}

const trainingOf = ({ parts }: Plan, runs: readonly RunFile[]): NamedTraining[] => [
  ...parts.flatMap(({ pass = 'training', findings }) =>
    findings?.training ? [{ name: pass, ...findings.training }] : [],
  ),
  ...runs.flatMap((each) => (each.kind === 'train' ? [{ name: 'train', ...each.run }] : [])),
]

function machineFacts(): Fact[] {
  const cores = cpus()
  return [
    { name: 'processor', value: `${cores[0]?.model ?? 'unknown'}, ${cores.length} cores` },
    { name: 'memory', value: describeBytes(totalmem()) },
    { name: 'system', value: `${process.platform} ${process.arch}` },
    { name: 'Node', value: process.versions.node },
    { name: 'ONNX Runtime', value: runtimeVersion() },
  ]
}

function runFacts(
  { made }: Plan,
  prune: PruneRun | undefined,
  { provider, evaluate }: GatherOptions,
): Fact[] {
  const fact = (name: string, value: unknown): Fact[] =>
    typeof value === 'string' ? [{ name, value }] : []
  return [
    ...fact('made by', made?.['by']),
    ...fact('provider of the run', prune?.provider),
    ...fact('decided on', prune?.data),
    ...fact(
      'quality measured on',
      evaluate ? evaluate.file && basename(evaluate.file) : prune?.eval,
    ),
    ...fact('provider of this report', provider),
  ]
}
