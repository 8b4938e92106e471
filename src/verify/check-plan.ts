/** What the plan in a model's metadata says went is gone, as far as the model alone can tell. */
import { AttncError } from '../errors.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { Plan } from '../plan/plan.js'
import { parsePlan } from '../plan/plan-json.js'
import { Inapplicable, Objection } from './report.js'
import type { Subject } from './subject.js'

/** The plan that the model carries. */
export function statedPlan({ model, file }: LoadedModel): Plan {
  const text = model.metadata.get('attnc.plan')
  if (text === undefined) throw new Inapplicable('the model carries no plan')
  try {
    return parsePlan(JSON.parse(text), `${file}, attnc.plan`)
  } catch (error) {
    if (error instanceof AttncError) throw error
    throw new Objection('model', `attnc.plan in ${file} is no JSON.`)
  }
}

/**
 * Sizes that the plan can have left, of what it cut. Error: Inapplicable where none can be read. A block that keeps one
 * member has no width any more and others take its name: then only the original tells, where `isReplayed` it does.
 */
export function checkPlan({ source, view }: Subject, isReplayed: boolean): string {
  const plan = statedPlan(source)
  const gone = removals(plan)
  if (gone.size === 0) throw new Inapplicable('the plan cuts no heads or widths')
  // A dimension of one member is no dimension any more.
  const single: string[] = []
  let objection: Objection | undefined
  for (const [id, { count, largest }] of gone) {
    const left = view.dimensions.find((each) => each.id === id)?.size
    if (left === undefined) single.push(id)
    else if (largest >= left + count)
      objection ??= new Objection(
        'numeric',
        `The plan removes member ${largest} of "${id}", but ${left} are there and ${count} went.`,
      )
  }
  if (objection) {
    if (!isReplayed && single.length === 0) throw objection
    throw new Inapplicable(
      'blocks that keep one member have no name any more, and others may have theirs: sizes are checked beside the original only',
    )
  }
  const seen = gone.size - single.length
  const unseen = `${listed(single)} ${single.length === 1 ? 'has' : 'have'} one member left at most, and ${single.length === 1 ? 'is' : 'are'} checked beside the original only`
  if (seen === 0) throw new Inapplicable(unseen)
  const sizes =
    seen === 1
      ? 'the size of 1 dimension is as the plan can leave it'
      : `the sizes of ${seen} dimensions are as the plan can leave them`
  return single.length === 0 ? sizes : `${sizes}; ${unseen}`
}

/** The first two, and how many more. */
const listed = (ids: readonly string[]): string =>
  ids.length > 3 ? `${ids.slice(0, 2).join(', ')} and ${ids.length - 2} more` : ids.join(', ')

/** How many members go, and the largest of their numbers, by dimension. */
export function removals({ parts }: Plan): Map<string, { count: number; largest: number }> {
  const gone = new Map<string, { count: number; largest: number }>()
  for (const { slices } of parts) {
    const members = new Map<string, Set<number>>()
    for (const { dimension, remove } of slices)
      members.set(dimension, new Set([...(members.get(dimension) ?? []), ...remove]))
    for (const [dimension, own] of members) {
      const { count, largest } = gone.get(dimension) ?? { count: 0, largest: -1 }
      gone.set(dimension, { count: count + own.size, largest: Math.max(largest, ...own) })
    }
  }
  return gone
}
