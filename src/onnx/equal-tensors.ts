/** Whether tensors hold the same numbers, told by a glance where that is enough and by a digest else. */
import { createHash } from 'node:crypto'
import { readTensor, type Tensor } from './tensor.js'

/** Bytes by which most weights are told apart. */
const GLANCE = 256

/** Bytes that are read at a time. */
export const PIECE = 1 << 20

/** The first bytes, fewer where there are fewer. */
export function glanceAt(tensor: Tensor): Buffer {
  const bytes = Buffer.alloc(Math.min(GLANCE, tensor.byteLength))
  readTensor(tensor, 0, bytes)
  return bytes
}

/** Equal for tensors of one type and shape that begin alike. */
export const likenessOf = (tensor: Tensor, glance = glanceAt(tensor)): string =>
  `${tensor.dataType} ${tensor.dims} ${glance.toString('latin1')}`

/** Of tensors of the same likeness. */
export const areEqual = (one: Tensor, other: Tensor): boolean =>
  one === other || digestOf(one) === digestOf(other)

/**
 * Of two that are looked at once: in pieces up to the first that differs, and not at all where they
 * lie at one place.
 */
export function haveSameBytes(one: Tensor, other: Tensor): boolean {
  if (one === other) return true
  if (one.byteLength !== other.byteLength) return false
  if (one.file && one.file.path === other.file?.path && one.file.offset === other.file.offset)
    return true
  const most = Math.min(PIECE, one.byteLength)
  const pieces = [new Uint8Array(most), new Uint8Array(most)] as const
  for (let from = 0; from < one.byteLength; from += PIECE) {
    const size = Math.min(PIECE, one.byteLength - from)
    const [its, others] = pieces.map((piece) => piece.subarray(0, size)) as [Uint8Array, Uint8Array]
    readTensor(one, from, its)
    readTensor(other, from, others)
    if (Buffer.compare(its, others) !== 0) return false
  }
  return true
}

const digests = new WeakMap<Tensor, string>()

/** Read in pieces, once for each tensor: graphs are analysed after every edit. */
function digestOf(tensor: Tensor): string {
  const known = digests.get(tensor)
  if (known) return known
  const hash = createHash('sha256')
  for (let from = 0; from < tensor.byteLength; from += PIECE) {
    const piece = new Uint8Array(Math.min(PIECE, tensor.byteLength - from))
    readTensor(tensor, from, piece)
    hash.update(piece)
  }
  const digest = hash.digest('hex')
  digests.set(tensor, digest)
  return digest
}
