/** How a model was made, as it says itself: its plan, what it was made from, what training left beside it. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AttncError } from '../errors.js'
import type { LoadedModel } from '../model-folder/load.js'
import { isTraining } from '../plan/findings.js'
import type { Plan } from '../plan/plan.js'
import { readPlanNote } from '../plan/plan-file.js'
import { parsePlan } from '../plan/plan-json.js'
import type { NamedTraining } from './report-data.js'

export interface Made {
  /** Without parts where the model was only trained. */
  readonly plan: Plan
  readonly input: string | null
  readonly training: readonly NamedTraining[]
}

export interface MadeOptions {
  readonly before: LoadedModel
  readonly after: LoadedModel
  readonly plan?: Plan | undefined
  readonly signal?: AbortSignal | undefined
}

/** Errors: REPORT_NO_PLAN, REPORT_OTHER_MODEL, those of plans. */
export async function readMade({ before, after, plan, signal }: MadeOptions): Promise<Made> {
  const { metadata } = after.model
  const trained = metadata.get('attnc.trained')
  const input = metadata.get('attnc.input') ?? trained ?? null
  const found = plan ?? statedPlan(after)
  if (!found && trained === undefined)
    throw new AttncError(
      'REPORT_NO_PLAN',
      'usage',
      `"${after.path}" says nothing of how it was made, and no plan.json lies beside it.`,
      {
        suggestions: [
          'Name its plan with --plan.',
          'For any two models: attnc compare A B shows how they differ.',
        ],
      },
    )
  if (input !== null && input !== (await before.digest(signal)))
    throw new AttncError(
      'REPORT_OTHER_MODEL',
      'usage',
      `"${after.path}" was made from another model than "${before.path}".`,
      { suggestions: ['Name first the model that it was made from, then the one that was made.'] },
    )
  return { plan: found ?? { parts: [] }, input, training: trainingBeside(after) }
}

function statedPlan({ model, folder, file }: LoadedModel): Plan | undefined {
  if (existsSync(join(folder, 'plan.json'))) return readPlanNote(folder).plan
  const text = model.metadata.get('attnc.plan')
  if (text === undefined) return undefined
  try {
    return parsePlan(JSON.parse(text), `${file}, attnc.plan`)
  } catch (error) {
    if (error instanceof AttncError) throw error
    throw new AttncError('PLAN_FORMAT', 'usage', `attnc.plan in ${file} is no JSON.`, {
      cause: error,
    })
  }
}

/** What `attnc train` leaves; a file of that name by someone else is none. */
function trainingBeside({ folder }: LoadedModel): NamedTraining[] {
  const path = join(folder, 'training.json')
  if (!existsSync(path)) return []
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return isTraining(value) ? [{ name: 'train', ...value }] : []
  } catch {
    return []
  }
}
