/**
 * Some elements of an axis of a tensor, as a tensor: what a cut leaves of a weight. Bytes are read and gathered when
 * the result is, so that a large file passes through a block of memory.
 */
import { InternalError } from '../errors.js'
import { bitsPerElement, packedByteLength } from './data-type.js'
import { elementCount, lazyTensor, readTensor, type Tensor, tensorFromBytes } from './tensor.js'

/**
 * Elements of an axis of a tensor, in the order given: `dims[axis]` becomes `keep.length`.
 * The bytes are gathered when the result is read. Works for packed types of 2 and 4 bits too.
 */
export function gatherAxis(tensor: Tensor, axis: number, keep: readonly number[]): Tensor {
  const size = tensor.dims[axis]
  const outside = keep.find((index) => !(index >= 0 && index < (size ?? 0)))
  if (size === undefined || outside !== undefined)
    throw new InternalError(`index ${outside} of axis ${axis} of a tensor of [${tensor.dims}]`)
  const dims = tensor.dims.with(axis, keep.length)
  const outer = elementCount(tensor.dims.slice(0, axis))
  const inner = elementCount(tensor.dims.slice(axis + 1))
  if (tensor.strings) {
    const strings: Uint8Array[] = []
    for (let o = 0; o < outer; o++)
      for (const k of keep)
        for (let i = 0; i < inner; i++)
          strings.push(tensor.strings[(o * size + k) * inner + i] as Uint8Array)
    return { dataType: 'string', dims, byteLength: 0, bytes: () => new Uint8Array(), strings }
  }
  const bits = bitsPerElement(tensor.dataType)
  if ((inner * bits) % 8 !== 0)
    return lazyTensor(tensor.dataType, dims, () => gatherBits(tensor, { outer, size, inner, keep }))
  const gather = new Gather(tensor, outer, size, (inner * bits) / 8, Uint32Array.from(keep))
  const made = lazyTensor(tensor.dataType, dims, () => gather.bytes())
  // Reading a computed tensor by range would compute all of it for every range.
  return tensor.read ? { ...made, read: (from, target) => gather.read(from, target) } : made
}

/** Source bytes that are read at once. */
const blockBytes = 2 << 20
/** From this length on, a run of neighbours is copied by itself; shorter ones by whole rows. */
const longRunBytes = 4096

/**
 * A gather along one axis of whole bytes. The tensor is `outer` rows of `size` elements of `stride` bytes.
 * Rows of short runs pass through a block of memory; of long runs only what is kept is read.
 */
class Gather {
  private readonly runs: readonly (readonly [start: number, length: number])[]
  private readonly rowIn: number
  private readonly rowOut: number

  constructor(
    private readonly source: Tensor,
    private readonly outer: number,
    size: number,
    private readonly stride: number,
    private readonly keep: Uint32Array,
  ) {
    this.runs = asRuns(keep)
    this.rowIn = size * stride
    this.rowOut = keep.length * stride
  }

  bytes(): Uint8Array {
    const { source, outer, rowOut } = this
    const target = new Uint8Array(outer * rowOut)
    const whole = source.read ? undefined : source.bytes()
    this.read(0, target, whole && tensorFromBytes(source.dataType, source.dims, whole))
    return target
  }

  read(from: number, target: Uint8Array, source = this.source): void {
    if (target.length === 0) return
    if (this.rowOut / this.runs.length >= longRunBytes) this.readRuns(source, from, target)
    else if (this.rowIn <= blockBytes) this.readRows(source, from, target)
    else this.readSpans(source, from, target)
  }

  private readRuns(source: Tensor, from: number, target: Uint8Array): void {
    let row = Math.floor(from / this.rowOut)
    let position = row * this.rowOut // of the run in the result
    for (; position < from + target.length; row++)
      for (const [start, count] of this.runs) {
        const length = count * this.stride
        const first = Math.max(position, from)
        const end = Math.min(position + length, from + target.length)
        if (first < end) {
          const at = row * this.rowIn + start * this.stride + (first - position)
          readTensor(source, at, target.subarray(first - from, end - from))
        }
        position += length
      }
  }

  /** Rows that are larger than a block: as many kept elements at once as lie within one. */
  private readSpans(source: Tensor, from: number, target: Uint8Array): void {
    const { keep, stride, rowIn, rowOut } = this
    const block = new Uint8Array(Math.max(blockBytes, stride))
    const end = from + target.length
    for (let position = from; position < end; ) {
      const row = Math.floor(position / rowOut)
      const first = Math.floor((position - row * rowOut) / stride)
      const start = keep[first] as number
      let last = first
      while (
        last + 1 < keep.length &&
        (keep[last + 1] as number) > (keep[last] as number) &&
        ((keep[last + 1] as number) + 1 - start) * stride <= block.length &&
        row * rowOut + (last + 1) * stride < end
      )
        last++
      const span = block.subarray(0, ((keep[last] as number) + 1 - start) * stride)
      readTensor(source, row * rowIn + start * stride, span)
      for (let index = first; index <= last; index++) {
        const at = row * rowOut + index * stride - from
        const bytes = span.subarray(((keep[index] as number) - start) * stride)
        const skipped = Math.max(0, -at)
        target.set(bytes.subarray(skipped, Math.min(stride, target.length - at)), at + skipped)
      }
      position = row * rowOut + (last + 1) * stride
    }
  }

  private readRows(source: Tensor, from: number, target: Uint8Array): void {
    const { rowIn, rowOut } = this
    const end = from + target.length
    const firstRow = Math.floor(from / rowOut)
    const lastRow = Math.ceil(end / rowOut)
    const rowsAtOnce = Math.max(1, Math.floor(blockBytes / rowIn))
    const block = new Uint8Array(Math.min(rowsAtOnce, lastRow - firstRow) * rowIn)
    const edge = new Uint8Array(rowOut)
    for (let row = firstRow; row < lastRow; row += rowsAtOnce) {
      const rows = Math.min(rowsAtOnce, lastRow - row)
      readTensor(source, row * rowIn, block.subarray(0, rows * rowIn))
      for (let r = 0; r < rows; r++) {
        const rowBytes = block.subarray(r * rowIn, (r + 1) * rowIn)
        const at = (row + r) * rowOut - from
        if (at >= 0 && at + rowOut <= target.length)
          this.gatherRow(rowBytes, target.subarray(at, at + rowOut))
        else {
          // The wanted range starts or ends inside this row.
          this.gatherRow(rowBytes, edge)
          const cut = edge.subarray(Math.max(0, -at), Math.min(rowOut, target.length - at))
          target.set(cut, Math.max(0, at))
        }
      }
    }
  }

  /** One row, in the largest units that stride and alignment allow. */
  private gatherRow(source: Uint8Array, target: Uint8Array): void {
    const alignment = this.stride | source.byteOffset | target.byteOffset
    const unit = alignment % 4 === 0 ? 4 : alignment % 2 === 0 ? 2 : 1
    const from = inUnits(source, unit)
    const to = inUnits(target, unit)
    const units = this.stride / unit
    const { keep } = this
    if (units === 1) {
      for (let index = 0; index < keep.length; index++)
        to[index] = from[keep[index] as number] as number
      return
    }
    let at = 0
    for (const [start, count] of this.runs) {
      const first = start * units
      const length = count * units
      if (length > 16) to.set(from.subarray(first, first + length), at)
      else for (let i = 0; i < length; i++) to[at + i] = from[first + i] as number
      at += length
    }
  }
}

function inUnits(bytes: Uint8Array, unit: 1 | 2 | 4): Uint8Array | Uint16Array | Uint32Array {
  if (unit === 4) return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  if (unit === 2) return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2)
  return bytes
}

/** Elements of 2 or 4 bits that don't start on a byte: one by one. */
function gatherBits(
  tensor: Tensor,
  layout: { outer: number; size: number; inner: number; keep: readonly number[] },
): Uint8Array {
  const { outer, size, inner, keep } = layout
  const bits = bitsPerElement(tensor.dataType)
  const source = tensor.bytes()
  const target = new Uint8Array(packedByteLength(tensor.dataType, outer * keep.length * inner))
  const perByte = 8 / bits
  const mask = (1 << bits) - 1
  let at = 0
  for (let o = 0; o < outer; o++)
    for (const k of keep)
      for (let i = 0; i < inner; i++, at++) {
        const from = (o * size + k) * inner + i
        const element =
          ((source[Math.floor(from / perByte)] as number) >> ((from % perByte) * bits)) & mask
        const byte = Math.floor(at / perByte)
        target[byte] = (target[byte] as number) | (element << ((at % perByte) * bits))
      }
  return target
}

/** Ascending neighbours joined: [3, 4, 5, 9] → [[3, 3], [9, 1]]. */
function asRuns(keep: Uint32Array): [start: number, length: number][] {
  const runs: [number, number][] = []
  for (const index of keep) {
    const last = runs.at(-1)
    if (last && last[0] + last[1] === index) last[1]++
    else runs.push([index, 1])
  }
  return runs
}
