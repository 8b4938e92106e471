/**
 * What a pass is: it looks at a model, and at data where it needs some, and returns a part of a plan.
 * It changes nothing; parts are carried out and proved by the main job, alike for all passes.
 */
import type { Calibration } from '../calibrate/state.js'
import type { Batch } from '../data/batch.js'
import type { Model } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import type { PlanPart, PlanSlice } from './plan.js'

/** What a pass may decide on: the model as the passes before it left it. */
export interface PassContext extends RunOptions {
  /** The model as it was given, before all passes, with its folder. */
  readonly source: LoadedModel
  /** Only this file of the folder counts. */
  readonly single: boolean
  readonly model: Model
  readonly view: TransformerModel
  readonly batches: readonly Batch[] | undefined
  /** All the data there is, for passes that train: `batches` are as much as calibration needs. */
  readonly training: readonly Batch[] | undefined
  /** Whether statistics can be had: data were given, or statistics of this very model. */
  readonly canCalibrate: boolean
  /** Moments of what the blocks write, measured when first asked for; empty without data. */
  calibrate(): Promise<Calibration>
  /** The other models of the folder, which get the same plan; fresh ones, as the passes before left them. */
  siblings(): readonly Model[]
  /** Whether a model of the folder holds a cache: its hosts expect one shape in every layer. */
  readonly hasCache: boolean
}

/** A pass with its options read. */
export interface ChosenPass {
  readonly name: string
  readonly phase: Phase
  /** Learns by gradients: wants all the data there is, not only as much as calibration needs. */
  readonly isLearning?: boolean
  /** Refuses what can't work before any work is done. */
  check?(context: Pick<PassContext, 'view' | 'batches' | 'canCalibrate'>): void
  /** One part, or several of which each counts in what the ones before left. */
  decide(context: PassContext): Promise<PlanPart | readonly PlanPart[]>
  /** Set where the pass can cut to any size, so that targets can be met with it. */
  readonly cut?: Cut
  /** Blocks that were asked for and have nothing that could go, with the reason; asked after `decide`. */
  skipped?(view: TransformerModel): readonly Skipped[]
}

/** How a pass meets targets: it cuts to any size. */
export interface Cut {
  /** All that could go at once: members stand for their number. Needs no data. With prices, in shares of these. */
  most(context: Pick<PassContext, 'view' | 'hasCache'>, prices?: Demand['prices']): Outline
  /** Looks at the model once, to cut it to whatever is asked for then. */
  open(context: PassContext): Promise<Cutter>
}

/** A model that was looked at, to be cut to what is asked for. */
export interface Cutter extends AsyncDisposable {
  /** How much would go of what; cheap. */
  outline(demand: Demand): readonly PlanSlice[]
  /** Error: NOTHING_REMOVED. */
  decide(demand: Demand): Promise<PlanPart>
}

/** How much is to go. */
export interface Demand {
  /** Share of the parameters of prunable blocks, or of what their members are priced at. */
  readonly ratio: number
  /** What a member of each dimension costs, by id, where that is not parameters: milliseconds. */
  readonly prices?: ReadonlyMap<string, number> | undefined
  /** Widths that stay are multiples of it, where the user didn't say. */
  readonly roundTo?: number | undefined
  /** At least so much of what members of some dimensions cost, each by the dimension's id. */
  readonly least?:
    | { readonly costs: ReadonlyMap<string, number>; readonly amount: number }
    | undefined
}

/** How much of what would go. */
export interface Outline {
  /** From this ratio on nothing more goes. */
  readonly ratio: number
  readonly slices: readonly PlanSlice[]
}

/** A block that can lose nothing. */
export interface Skipped {
  /** `attention.3` or `feedForward.3`, and its layer. */
  readonly block: string
  readonly layer: number
  readonly reason: string
}

/**
 * Phases in the order in which passes may follow each other: heads are cut before they are laid
 * out, what is left is trained, tokens go, then numbers are rounded.
 */
export const phases = ['cut', 'sparsify', 'recover', 'vocabulary', 'lighten', 'quantize'] as const
export type Phase = (typeof phases)[number]

/** A pass as the command line knows it. */
export interface Pass {
  /** Kebab-case: its folder, its name in `--pass` and in plans. */
  readonly name: string
  readonly summary: string
  /** Flags that it reads; some are shared by several passes. */
  readonly flags: readonly string[]
  /** Whether flags ask for it though it isn't named. */
  isAskedFor?(flags: PassFlags): boolean
  /** Passes by name that finish what this one begins, unless their flag (`--no-lighten`) says no. */
  readonly followedBy?: readonly string[]
  /** Reads those flags, `pass` the names that were given. Errors are of kind `usage`, and say the flag. */
  read(flags: PassFlags, view: TransformerModel): ChosenPass
}

/** Values by the name of the flag; strings, numbers, true, lists of strings. */
export type PassFlags = Readonly<Record<string, unknown>>
