/**
 * What pruning did, as one object. It is a plan as well (format, slices), so that the output of
 * `prune --dry-run --json` can be replayed as it is.
 */
import type { PlanJson } from '../plan/plan-json.js'
import type { FolderResult } from '../prune/apply-to-folder.js'
import type { MeasuredPair } from '../prune/measure-pair.js'
import type { ChosenProvider } from '../runtime/provider.js'

export type FolderJson = ReturnType<typeof folderJson>

/** The part that `prune` and `apply` share. */
export function folderJson(plan: PlanJson, result: FolderResult, provider: ChosenProvider) {
  const { before, after, rows, check, written } = result
  return {
    ...plan,
    provider: provider.name,
    passedOver: provider.passedOver,
    before,
    after,
    rows,
    check: check ?? null,
    output: written ? { folder: written.folder, files: written.files } : null,
  }
}

export const metricsJson = (measured: readonly MeasuredPair[]) =>
  measured.map(({ before, after }) => ({
    metric: after.metric,
    before: before?.value ?? null,
    value: after.value,
    samples: after.samples,
  }))
