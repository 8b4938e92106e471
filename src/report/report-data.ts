/**
 * What a report shows, as plain JSON: `attnc report --json` prints it, `renderReport` makes a page of it.
 * Whatever was not measured is null or empty, and the page says how to get it.
 */
import type { BenchResult } from '../bench/bench.js'
import type { StructuralDifference } from '../compare/structure.js'
import type { Measured } from '../evaluate/evaluate.js'
import type { Training } from '../plan/findings.js'
import type { NumericCheck } from '../prune/check.js'
import type { Sweep } from '../prune/sweep.js'

/** All that the page of a report shows, as plain JSON. */
export interface ReportData {
  readonly format: 1
  /** Of folders or files, as people know them. */
  readonly names: Change<string>
  readonly savings: Savings
  readonly quality: readonly Quality[]
  readonly layers: readonly LayerEntry[]
  readonly sensitivity: SensitivityMap | null
  readonly frontier: Sweep | null
  readonly training: readonly NamedTraining[]
  readonly texts: readonly TextPair[]
  readonly difference: StructuralDifference
  readonly provenance: Provenance
}

export interface Change<Value> {
  readonly before: Value
  readonly after: Value
}

/** Five kinds of smaller that need not go together; `timing` is the fifth, measured. */
export interface Savings {
  readonly parameters: Change<number>
  /** Files of the models that both folders have. */
  readonly diskBytes: Change<number>
  readonly flopsPerToken: Change<number>
  /** null where the model has no cache. */
  readonly cacheBytesPerToken: Change<number> | null
  readonly timing: BenchResult | null
}

/** `before` is null where the metric compares the two models. */
export interface Quality {
  readonly metric: Measured['metric']
  readonly before: number | null
  readonly after: number
  readonly samples: number
}

export interface LayerEntry {
  /** null for what belongs to no layer, as the width of the stream. */
  readonly layer: number | null
  readonly strips: readonly Strip[]
  /** Who may attend to whom, a list for each attention block; empty where nothing was changed. */
  readonly attends: readonly (readonly string[])[]
  readonly cacheBytesPerToken: Change<number> | null
  readonly parameters: Change<number>
}

/** The members of one dimension of a layer. */
export interface Strip {
  /** `keyValueHeads`, `cross.keyValueHeads`, `width` …: the dimension without its layer. */
  readonly part: string
  readonly size: number
  /** Members of the original that went, ascending. */
  readonly removed: readonly number[]
  /** What losing each unit costs by the pass that ranked them; null for a unit that was never asked. */
  readonly costs: readonly (number | null)[] | null
  /** Members of a unit. */
  readonly membersPerUnit: number
  /** Of key-value heads: how many query heads share one. */
  readonly queriesPerMember: number
}

export interface SensitivityMap {
  /** What is lost, in words. */
  readonly measure: string
  /** Shares of the units that go, the same for all rows. */
  readonly shares: readonly number[]
  readonly rows: readonly {
    readonly layer: number | null
    readonly part: string
    /** What is lost at each share; null beyond what was asked. */
    readonly losses: readonly (number | null)[]
    /** Share that went. */
    readonly reached: number
    /** What is lost for a saved millisecond, of what went or of the first tenth; null where nothing was timed. */
    readonly perMillisecond: number | null
  }[]
}

export interface NamedTraining extends Training {
  readonly name: string
}

export interface TextPair {
  readonly prompt: string
  readonly before: string
  readonly after: string
}

/** A row of what is said in words. */
export interface Fact {
  readonly name: string
  readonly value: string
}

export interface Provenance {
  /** ISO 8601. */
  readonly created: string
  readonly by: string
  /** SHA-256 of the original, by the model itself. */
  readonly input: string | null
  readonly passes: readonly { readonly name: string; readonly options: unknown }[]
  readonly machine: readonly Fact[]
  /** Data, provider and what else the run that made the model said. */
  readonly run: readonly Fact[]
  readonly check: NumericCheck | null
  readonly targets: readonly TargetEntry[]
  readonly conditions: readonly ConditionEntry[]
  readonly skipped: readonly {
    readonly block: string
    readonly layer: number
    readonly reason: string
  }[]
}

export interface TargetEntry {
  readonly target: string
  readonly kind: string
  readonly before: number
  readonly asked: number
  readonly reached: number
  readonly isMet: boolean
}

export interface ConditionEntry {
  readonly condition: string
  readonly result: 'pass' | 'fail' | 'undecided'
  /** Whether the run fails by it; undecided ones may pass or fail. */
  readonly isMissed: boolean
  readonly message: string
}
