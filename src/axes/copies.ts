/**
 * Weights that stand in the graph several times with the same numbers, as those of layers that share them
 * do once an exporter has folded a transposition into each. Cut alike they stay copies, which a file
 * holds once and a count of parameters counts once; cut apart they would become weights of their own.
 */
import type { Value } from '../graph/graph.js'
import { areEqual, glanceAt, likenessOf, PIECE } from '../onnx/equal-tensors.js'
import { readTensor, type Tensor } from '../onnx/tensor.js'

/** Groups of two and more constants that hold the same matrix; fills don't count, whatever they fill. */
export function findCopies(values: Iterable<Value>): Value[][] {
  const alike = new Map<string, Value[][]>()
  for (const value of values) {
    const { constant } = value
    if (!constant || constant.dims.filter((size) => size > 1).length < 2) continue
    const glance = glanceAt(constant)
    if (isFill(glance)) continue
    const key = likenessOf(constant, glance)
    const groups = alike.get(key) ?? []
    alike.set(key, groups)
    const known = groups.find(([first]) => first?.constant && areEqual(first.constant, constant))
    if (known) known.push(value)
    else groups.push([value])
  }
  return [...alike.values()].flat().filter((group) => group.length > 1)
}

/** Whether each number equals the one before, whatever its type: eight bytes hold one or more. */
const isFill = (bytes: Buffer): boolean =>
  bytes.length < 16 || bytes.subarray(8).equals(bytes.subarray(0, -8))

const filled = new WeakMap<Tensor, boolean>()

/** Whether a tensor holds one number again and again. */
export function isFilled(tensor: Tensor): boolean {
  const known = filled.get(tensor)
  if (known !== undefined) return known
  let found = tensor.byteLength >= 16 && isFill(glanceAt(tensor))
  for (let from = 0; found && from < tensor.byteLength; from += PIECE) {
    const piece = Buffer.alloc(Math.min(PIECE, tensor.byteLength - from))
    readTensor(tensor, from, piece)
    found =
      piece.length < 16 ||
      (isFill(piece) && piece.subarray(0, 8).equals(glanceAt(tensor).subarray(0, 8)))
  }
  filled.set(tensor, found)
  return found
}
