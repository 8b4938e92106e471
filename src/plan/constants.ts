/** Constants replaced whole, by name or by the numbers they have: what a pass trained, or folded something into. */
import { createHash } from 'node:crypto'
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Value } from '../graph/graph.js'
import { toConstant } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import type { ReplacedWeight } from './plan.js'

/** Errors: WEIGHT_SHAPE, WEIGHT_MISSING. */
export function setConstants(change: GraphEdit, weights: readonly ReplacedWeight[]): void {
  const known: KnownWeight[] = []
  for (const { name, digest, tensor } of weights)
    if (digest === undefined) setByName(change, name, tensor)
    else known.push({ name, digest, tensor: toConstant(tensor) })
  const [missing] = replaceConstants(change, known)
  if (missing)
    throw new AttncError(
      'WEIGHT_MISSING',
      'usage',
      `The plan replaces "${missing.name}" ${missing.tensor.dataType} [${missing.tensor.dims}], and the model has no constant of the numbers that it had.`,
      { suggestions: ['Use the plan with the model that it was made for.'] },
    )
}

function setByName(change: GraphEdit, name: string, tensor: ReplacedWeight['tensor']): void {
  const value = change.graph.values.get(name)
  const constant = value?.constant
  if (!value || !constant) throw shapeError(name, tensor, 'the model has no such constant')
  if (constant.dataType !== tensor.dataType || constant.dims.join() !== tensor.dims.join())
    throw shapeError(name, tensor, `the model's is ${constant.dataType} [${constant.dims}]`)
  change.setConstant(value, toConstant(tensor))
}

export interface KnownWeight {
  readonly name: string
  /** Of the numbers that it has now. */
  readonly digest: string
  readonly tensor: Tensor
}

/** Replaces constants of these digests, whatever they are called; returns the weights that were not found. */
export function replaceConstants(
  change: GraphEdit,
  weights: readonly KnownWeight[],
): readonly KnownWeight[] {
  const sizes = new Set(weights.map(({ tensor }) => tensor.byteLength))
  const places = new Map<string, Value[]>()
  for (const value of change.graph.initializers()) {
    const { constant } = value
    if (!constant || constant.strings || !sizes.has(constant.byteLength)) continue
    const digest = digestOfConstant(constant)
    places.set(digest, [...(places.get(digest) ?? []), value])
  }
  const missing: KnownWeight[] = []
  for (const [digest, alike] of byDigest(weights)) {
    const found = places.get(digest) ?? []
    if (found.length === 0) missing.push(...alike)
    // Of the same numbers, each by its name, else in order.
    for (const [index, value] of found.entries()) {
      const weight = alike.find(({ name }) => name === value.name) ?? alike[index] ?? alike.at(-1)
      const isOther = alike.length > 0 && found.some(({ name }) => name === weight?.name)
      if (weight && (!isOther || weight.name === value.name))
        change.setConstant(value, weight.tensor)
    }
  }
  return missing
}

function byDigest(weights: readonly KnownWeight[]): Map<string, KnownWeight[]> {
  const found = new Map<string, KnownWeight[]>()
  for (const weight of weights) {
    const alike = found.get(weight.digest)
    if (alike) alike.push(weight)
    else found.set(weight.digest, [weight])
  }
  return found
}

/** Type, shape and numbers in 64 hexadecimal digits. */
export const digestOfConstant = (tensor: Tensor): string =>
  createHash('sha256')
    .update(`${tensor.dataType} ${tensor.dims}\0`)
    .update(tensor.bytes())
    .digest('hex')

const shapeError = (name: string, tensor: ReplacedWeight['tensor'], text: string): AttncError =>
  new AttncError(
    'WEIGHT_SHAPE',
    'usage',
    `The plan replaces "${name}" by ${tensor.dataType} [${tensor.dims}]; ${text}.`,
    { suggestions: ['Use the plan with the model that it was made for.'] },
  )
