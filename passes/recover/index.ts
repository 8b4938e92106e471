/** Training after cutting, as a pass: its options from the command line or from a program. */
import { AttncError } from '../../src/errors.js'
import { parseBytes, parseNumber, parseShare } from '../../src/plan/numbers.js'
import type { ChosenPass, Pass, PassFlags } from '../../src/plan/pass.js'
import type { Precision } from '../../src/train/training-graph.js'
import { findTrainable } from '../../src/train/weights/trainable.js'
import type { WeightRole } from '../../src/train/weights/weight-role.js'
import { type RecoverOptions, type Recovery, recoverDefaults, recoveries } from './options.js'
import { methodOf, recoverModel } from './recover.js'

/** Errors: NO_DATA, NOTHING_TO_TRAIN; of its decision those of training. */
export function recover(chosen: Partial<RecoverOptions> = {}): ChosenPass {
  const options = { ...recoverDefaults, ...chosen }
  return {
    name: 'recover',
    phase: 'recover',
    check({ view, batches }) {
      if (!batches) throw noData()
      // Before anything is measured: cutting takes no weight away whole.
      findTrainable(view.graph, methodOf(options))
    },
    decide(context) {
      const data = context.training ?? context.batches
      if (!data) throw noData()
      return recoverModel(context, data, options)
    },
  }
}

const noData = (): AttncError =>
  new AttncError('NO_DATA', 'usage', 'Training needs data, and none was given.', {
    suggestions: ['Give some with --data, or recover in closed form with --recover ridge.'],
  })

/** Values of its flags, where they were given. */
interface RecoverFlags {
  readonly recover?: string
  readonly 'recover-updates'?: number
  readonly rate?: string
  readonly rank?: number
  readonly roles?: readonly WeightRole[]
  readonly 'teacher-share'?: string
  readonly 'hidden-share'?: string
  readonly 'memory-limit'?: string
  readonly 'training-precision'?: Precision
  readonly recite?: number
  readonly seed?: number
}

const isRecovery = (text: string | undefined): text is Recovery =>
  recoveries.some((each) => each === text)

export const recoverPass: Pass = {
  name: 'recover',
  summary: 'trains what is left, with the original model as the teacher',
  flags: [
    'recover',
    'recover-updates',
    'rate',
    'rank',
    'roles',
    'teacher-share',
    'hidden-share',
    'memory-limit',
    'training-precision',
    'recite',
  ],
  /** `--recover lora` asks for it without naming it. */
  isAskedFor: ({ recover: method }) => isRecovery(method as string | undefined),
  read(flags: PassFlags) {
    const given = flags as RecoverFlags
    const { recover: method, 'recover-updates': updates, rank, roles, recite, seed } = given
    const { 'training-precision': precision } = given
    return recover({
      ...(isRecovery(method) && { method }),
      ...(updates !== undefined && { updates }),
      ...(rank !== undefined && { rank }),
      ...(precision && { precision }),
      ...(roles && { targets: roles }),
      ...(recite !== undefined && { recite }),
      ...(seed !== undefined && { seed }),
      ...(given.rate !== undefined && { rate: parseNumber('rate', given.rate) }),
      ...(given['teacher-share'] !== undefined && {
        teacherShare: parseShare('teacher-share', given['teacher-share']),
      }),
      ...(given['memory-limit'] !== undefined && {
        memoryLimit: parseBytes('memory-limit', given['memory-limit']),
      }),
      ...(given['hidden-share'] !== undefined && {
        hiddenShare: parseShare('hidden-share', given['hidden-share']),
      }),
    })
  },
}
