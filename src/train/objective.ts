/**
 * What a model is trained for, read from its outputs and the data: the next token, a class, or yes and
 * no; and, with a teacher, to say what the teacher says.
 */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import type { Model, Value } from '../graph/graph.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import type { Feeds } from '../runtime/session.js'
import { binaryCrossEntropy, crossEntropy, distillation } from './loss.js'
import type { NodeBuilder } from './node-builder.js'

export const TARGETS = 'attnc.targets'
export const WEIGHTS = 'attnc.weights'
export const TEACHER = 'attnc.teacher'

export interface Objective {
  readonly kind: 'next token' | 'class' | 'yes or no'
  /** The output that is judged. */
  readonly output: string
}

/** Share of the loss that is the distance from a teacher, whose logits are fed. */
export interface Distillation {
  readonly share: number
  readonly temperature: number
}

/** Errors: NO_OBJECTIVE where neither labels nor a vocabulary say what is right. */
export function chooseObjective(model: Model, batches: readonly Batch[]): Objective {
  const outputs = model.graph.outputs.filter(({ type }) => type?.dataType?.startsWith('float'))
  const [first] = outputs
  const dims = first?.type?.dims ?? []
  if (first && batches[0]?.extras?.['labels'] && dims.length <= 2)
    return { kind: dims.length < 2 || dims[1] === 1 ? 'yes or no' : 'class', output: first.name }
  const logits = outputs.find(({ type }) => type?.dims?.length === 3)
  if (logits && (batches[0]?.ids.length ?? 0) > 0)
    return { kind: 'next token', output: logits.name }
  throw new AttncError(
    'NO_OBJECTIVE',
    'usage',
    `There is nothing to train for: the data has no "labels", and no output is [batch, sequence, vocabulary] (outputs: ${outputs.map(({ name, type }) => `"${name}" [${type?.dims ?? '?'}]`).join(', ')}).`,
    { suggestions: ['Give text to a language model, or arrays with "labels" to others.'] },
  )
}

/** Adds the inputs of targets and the loss of them. */
export function addObjective(
  b: NodeBuilder,
  { kind, output }: Objective,
  teacher: Distillation | undefined,
): Value {
  const found = b.edit.graph.values.get(output) as Value
  const rank = b.shapes.dims(found)?.length ?? 2
  const names = Array.from({ length: rank }, (_, axis) => `attnc.axis${axis}`)
  const own = kind === 'yes or no' ? names : names.slice(0, -1)
  const targets = b.edit.addInput(TARGETS, kind === 'yes or no' ? 'float32' : 'int64', own)
  const weights = b.edit.addInput(WEIGHTS, 'float32', own)
  const judge = kind === 'yes or no' ? binaryCrossEntropy : crossEntropy
  const loss = judge(b, found, targets, weights)
  if (!teacher || kind === 'yes or no') return loss
  const wanted = b.edit.addInput(TEACHER, 'float32', found.type?.dims ?? names)
  const distance = distillation(b, found, wanted, teacher.temperature, weights)
  const share = (value: Value, size: number): Value =>
    b.op('Mul', [value, b.number(size, 'float32')])
  return b.op('Add', [share(loss, 1 - teacher.share), share(distance, teacher.share)])
}

/** Targets and weights of a batch; padding and last tokens count nothing. Error: NO_LABELS. */
export function targetsOf(objective: Objective, batch: Batch): Feeds {
  if (objective.kind === 'next token') return nextTokens(batch)
  const labels = batch.extras?.['labels']
  if (!labels)
    throw new AttncError('NO_LABELS', 'usage', 'The data has no array "labels" beside its inputs.')
  const type = objective.kind === 'class' ? 'int64' : 'float32'
  const numbers = Array.from(labels.data as ArrayLike<number | bigint>, Number)
  return {
    [TARGETS]: tensorOf(type, labels.dims, numbers),
    [WEIGHTS]: tensorOf(
      'float32',
      labels.dims,
      numbers.map(() => 1),
    ),
  }
}

function nextTokens({ ids, feeds, tokenMask }: Batch): Feeds {
  const dims = tokenMask?.dims ?? Object.values(feeds)[0]?.dims ?? []
  const length = dims[1] ?? 0
  const kept = tokenMask && numbersOf(tokenMask)
  const targets = new Array<number>(ids.length * length).fill(0)
  const weights = new Array<number>(ids.length * length).fill(0)
  for (const [row, own] of ids.entries()) {
    // Real tokens may begin anywhere in the row.
    const first = kept ? kept.subarray(row * length, (row + 1) * length).indexOf(1) : 0
    for (let i = 0; i + 1 < own.length; i++) {
      targets[row * length + first + i] = own[i + 1] as number
      weights[row * length + first + i] = 1
    }
  }
  return {
    [TARGETS]: tensorOf('int64', [ids.length, length], targets),
    [WEIGHTS]: tensorOf('float32', [ids.length, length], weights),
  }
}

/** How much of a batch counts: what means over several batches are weighted by. */
export const countOf = (targets: Feeds): number =>
  Array.from(numbersOf(targets[WEIGHTS] as RuntimeTensor)).reduce((sum, each) => sum + each, 0)
