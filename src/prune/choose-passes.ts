/** The passes of a run, from their names and the flags that were given; what can't be is refused. */
import { passes } from '../../passes/index.js'
import { AttncError } from '../errors.js'
import type { TransformerModel } from '../model/model.js'
import { type ChosenPass, type Pass, type PassFlags, phases } from '../plan/pass.js'

/** Errors: PASS_UNKNOWN, PASS_ORDER, PASS_FLAG, those of the passes. */
export function choosePasses(
  names: readonly string[],
  flags: PassFlags,
  view: TransformerModel,
): ChosenPass[] {
  const named = names.map(findPass)
  const isFollowing = ({ name }: Pass): boolean =>
    flags[name] !== false && named.some(({ followedBy }) => followedBy?.includes(name))
  const asked = passes.filter(
    (pass) => !named.includes(pass) && (pass.isAskedFor?.(flags) || isFollowing(pass)),
  )
  checkFlags([...named, ...asked], flags)
  const read = (pass: Pass): ChosenPass => pass.read({ ...flags, pass: names }, view)
  const chosen = asked.reduce((all, pass) => insertByPhase(all, read(pass)), named.map(read))
  checkOrder(chosen)
  return chosen
}

/** A pass that isn't named stands where it can: before the first of a later phase. */
function insertByPhase(chosen: readonly ChosenPass[], pass: ChosenPass): ChosenPass[] {
  const place = (each: ChosenPass): number => phases.indexOf(each.phase)
  const later = chosen.findIndex((each) => place(each) > place(pass))
  return chosen.toSpliced(later < 0 ? chosen.length : later, 0, pass)
}

function findPass(name: string): Pass {
  const found = passes.find((pass) => pass.name === name)
  if (found) return found
  throw new AttncError('PASS_UNKNOWN', 'usage', `There is no pass "${name}".`, {
    suggestions: passes.map(({ name, summary }) => `--pass ${name}: ${summary}.`),
  })
}

/** Refuses a flag that only other passes would read: it would be passed over in silence. */
function checkFlags(chosen: readonly Pass[], flags: PassFlags): void {
  for (const [flag, value] of Object.entries(flags)) {
    const readers = passes.filter((pass) => pass.flags.includes(flag))
    if (value === undefined || value === false || readers.length === 0) continue
    if (readers.some((pass) => chosen.includes(pass))) continue
    throw new AttncError(
      'PASS_FLAG',
      'usage',
      `--${flag} is read by ${readers.map(({ name }) => `"${name}"`).join(' and ')}, and ${chosen
        .map(({ name }) => `"${name}"`)
        .join(' and ')} ${chosen.length === 1 ? 'is' : 'are'} to run.`,
      { suggestions: [`Add --pass ${readers[0]?.name}, or leave --${flag} away.`] },
    )
  }
}

function checkOrder(chosen: readonly ChosenPass[]): void {
  for (const [index, pass] of chosen.entries()) {
    const before = chosen.slice(0, index)
    if (before.some(({ name }) => name === pass.name))
      throw orderError(`"${pass.name}" is named twice`, 'Name it once.')
    const later = before.find((each) => phases.indexOf(each.phase) > phases.indexOf(pass.phase))
    if (later)
      throw orderError(
        `"${pass.name}" can't follow "${later.name}", which needs the model as it stays`,
        `Write --pass ${pass.name} --pass ${later.name}.`,
      )
  }
}

const orderError = (text: string, suggestion: string): AttncError =>
  new AttncError('PASS_ORDER', 'usage', `These passes don't go together: ${text}.`, {
    suggestions: [suggestion],
  })
