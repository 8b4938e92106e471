/**
 * What a model is trained for, read from its outputs and the data: the next token, a class, or yes and
 * no; or nothing but to answer as a teacher does.
 */
import { answersTokens, sizesOf } from '../../data/answer-sizes.js'
import type { Batch } from '../../data/batch.js'
import { type LabelNeeds, noLabels, numbersOfLabels, readLabels } from '../../data/labels.js'
import { AttncError } from '../../errors.js'
import type { Model, Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'
import { isFloating } from '../../onnx/data-type.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../onnx/numbers.js'
import type { Feeds } from '../../runtime/session.js'
import { inferShapes } from '../../shape/infer.js'
import { binaryCrossEntropy, crossEntropy } from './loss.js'

export const TARGETS = 'attnc.targets'
export const WEIGHTS = 'attnc.weights'

export interface Objective {
  readonly kind: 'next token' | 'class' | 'yes or no' | 'teacher'
  /** The output that is judged. */
  readonly output: string
  /** What a loss is the mean of: tokens or samples, [batch, sequence] or [batch] with weights; or numbers. */
  readonly counts: 'tokens' | 'samples' | 'numbers'
  /** How many samples there are, where the first input's rows are others: nodes of which graphs are made. */
  readonly samples?: number | InputAxis | undefined
  /** Whether answers are [samples, 1]: labels of one axis are then such a column. */
  readonly isColumn?: boolean
}

interface InputAxis {
  readonly input: string
  readonly axis: number
}

const labelNeeds: LabelNeeds = {
  what: 'Training',
  otherwise: 'have a --teacher say what is right',
}

/**
 * Errors: NO_LABELS, LABEL_RANGE; NO_OBJECTIVE where neither labels, nor a vocabulary, nor a
 * teacher say what is right.
 */
export function chooseObjective(
  model: Model,
  batches: readonly Batch[],
  hasTeacher = false,
): Objective {
  const outputs = model.graph.outputs.filter(({ type }) => isFloating(type?.dataType ?? 'bool'))
  const [first] = outputs
  const dims = first?.type?.dims ?? []
  const { samples, isBehind } = first ? findSamples(model, first) : { isBehind: false }
  if (first && batches[0]?.extras?.['labels'] && dims.length <= 2) {
    const isBinary = dims.length < 2 || dims[1] === 1
    const classes = isBinary || typeof dims[1] !== 'number' ? undefined : dims[1]
    readLabels(batches, { ...labelNeeds, classes })
    return isBinary
      ? { kind: 'yes or no', output: first.name, counts: 'numbers', isColumn: dims.length === 2 }
      : { kind: 'class', output: first.name, counts: 'samples', samples }
  }
  const logits = outputs.find(({ type }) => type?.dims?.length === 3)
  if (logits && (batches[0]?.ids.length ?? 0) > 0) {
    const width = sizesOf(model, logits, batches)?.[2]
    if (answersTokens(model, logits, batches) && (isVocabulary(width, batches) || !hasTeacher))
      return { kind: 'next token', output: logits.name, counts: 'tokens' }
  }
  if (first && hasTeacher) {
    const tokens = batches[0]?.tokenMask?.dims[1]
    const rows = tokens === undefined ? undefined : sizesOf(model, first, batches)?.[1]
    // Of other things than tokens, such as points of an image, there are as many as there are; what shows only while
    // running is no count of tokens.
    const isTokenwise = dims.length === 3 && tokens !== undefined && rows === tokens
    if (isTokenwise) return { kind: 'teacher', output: first.name, counts: 'tokens', samples }
    return {
      kind: 'teacher',
      output: first.name,
      counts: isBehind ? 'numbers' : 'samples',
      samples,
    }
  }
  throw new AttncError(
    'NO_OBJECTIVE',
    'usage',
    `There is nothing to train for: the data has no "labels", and no output is [batch, sequence, vocabulary] (outputs: ${outputs.map(({ name, type }) => `"${name}" [${type?.dims ?? '?'}]`).join(', ')}).`,
    {
      suggestions: [
        'Give text to a language model, arrays with "labels" to others, or a --teacher whose answers are learned.',
      ],
    },
  )
}

interface Samples {
  readonly samples?: number | InputAxis
  /** Whether something else comes first in answers, such as steps of time, and samples behind it. */
  readonly isBehind: boolean
}

/** Where the answers of a graph's nodes, or of graphs, are counted; nowhere else where the first input's rows are. */
function findSamples({ graph }: Model, output: Value): Samples {
  const [first] = graph.inputs
  const [rows] = output.type?.dims ?? []
  if (rows !== undefined && rows === first?.type?.dims?.[0]) return { isBehind: false }
  const shapes = inferShapes(graph)
  const [size, ...others] = shapes.dims(output) ?? []
  if (size?.value !== undefined) return { samples: size.value, isBehind: false }
  const name = size?.toString()
  for (const { name: input, type } of graph.inputs) {
    const axis = (type?.dims ?? []).indexOf(name)
    if (axis >= 0) return { samples: { input, axis }, isBehind: false }
  }
  const asked = first && shapes.dims(first)?.[0]
  const isFirst = !asked || !size || size.equals(asked)
  return { isBehind: !isFirst && others.some((each) => each.equals(asked)) }
}

/** Whether the last axis has room for every id: hidden states of an encoder seldom do. */
function isVocabulary(size: number | undefined, batches: readonly Batch[]): boolean {
  if (size === undefined) return true
  return batches.every(({ ids }) => ids.every((row) => row.every((id) => id < size)))
}

/** Adds the inputs of targets and the loss of them; undefined where only a teacher says what is right. */
export function addTaskLoss(
  b: NodeBuilder,
  { kind, output }: Objective,
  weights: Value | undefined,
): Value | undefined {
  if (kind === 'teacher') return undefined
  const found = b.edit.graph.values.get(output) as Value
  const dims = weights?.type?.dims ?? axesOf(b.shapes.dims(found)?.length ?? 2)
  if (kind === 'yes or no')
    return binaryCrossEntropy(b, found, b.edit.addInput(TARGETS, 'float32', dims))
  return crossEntropy(b, found, b.edit.addInput(TARGETS, 'int64', dims), weights)
}

/** How much each token or sample counts. */
export function addWeights(b: NodeBuilder, { counts }: Objective): Value | undefined {
  if (counts === 'numbers') return undefined
  return b.edit.addInput(WEIGHTS, 'float32', axesOf(counts === 'tokens' ? 2 : 1))
}

const axesOf = (rank: number): string[] =>
  Array.from({ length: rank }, (_, axis) => `attnc.axis${axis}`)

/** Targets and weights of a batch; padding and last tokens count nothing. Error: NO_LABELS. */
export function targetsOf(objective: Objective, batch: Batch): Feeds {
  const { kind, counts, samples, isColumn } = objective
  if (kind === 'next token') return nextTokens(batch)
  const rows =
    (typeof samples === 'object' ? batch.feeds[samples.input]?.dims[samples.axis] : samples) ??
    Object.values(batch.feeds)[0]?.dims[0] ??
    1
  const ones = tensorOf('float32', [rows], new Array<number>(rows).fill(1))
  if (kind === 'teacher')
    return { [WEIGHTS]: counts === 'tokens' && batch.tokenMask ? batch.tokenMask : ones }
  const labels = batch.extras?.['labels']
  if (!labels) throw noLabels(labelNeeds, 'a batch has none')
  const numbers = numbersOfLabels(labels)
  const dims = isColumn && labels.dims.length === 1 ? [...labels.dims, 1] : labels.dims
  const targets = tensorOf(kind === 'class' ? 'int64' : 'float32', dims, numbers)
  return { [TARGETS]: targets, [WEIGHTS]: ones }
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
