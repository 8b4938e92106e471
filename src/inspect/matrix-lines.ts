/** Telling one learned matrix from another by a few of its rows and columns, without reading it whole. */
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import { elementCount, readTensor, type Tensor, tensorFromBytes } from '../onnx/tensor.js'

/** Bytes between the first and the last number of a column that are read at once. */
const MAX_SPAN = 1 << 19

/** Some rows and columns of a matrix, to know it by. */
export class MatrixLines {
  private readonly known = new Map<boolean, number[][]>()

  constructor(private readonly tensor: Tensor) {}

  /**
   * Whether the same numbers stand in both, as they are or transposed, whatever each is quantised
   * by: lines that go up and down together.
   */
  areSame(other: MatrixLines): boolean {
    const [rows, columns] = this.tensor.dims
    const { dims } = other.tensor
    const isSame = rows === dims[0] && columns === dims[1]
    const isTransposed = rows === dims[1] && columns === dims[0]
    return (
      (isSame && areAllAlike(this.lines(false), other.lines(false))) ||
      (isTransposed && areAllAlike(this.lines(false), other.lines(true)))
    )
  }

  private lines(isColumns: boolean): number[][] {
    const known = this.known.get(isColumns)
    if (known) return known
    const { dims } = this.tensor
    const [rows = 0, columns = 0] = dims
    const [count, length] = isColumns ? [columns, rows] : [rows, columns]
    const taken = Math.min(length, 48)
    const lines = [0, 1, 2, 3].map((i) => this.line(Math.floor((i * count) / 4), isColumns, taken))
    this.known.set(isColumns, lines)
    return lines
  }

  /** The first `count` numbers of a row or a column. */
  line(index: number, isColumn: boolean, count: number): number[] {
    const [, columns = 1] = this.tensor.dims
    return isColumn ? this.numbers(index, columns, count) : this.numbers(index * columns, 1, count)
  }

  private numbers(from: number, step: number, count: number): number[] {
    const { tensor } = this
    const size = tensor.byteLength / elementCount(tensor.dims)
    const bytes = new Uint8Array(size * count)
    const span = ((count - 1) * step + 1) * size
    if (step === 1) readTensor(tensor, from * size, bytes)
    else if (span <= MAX_SPAN) {
      // One read of everything between costs less than a read for each number.
      const all = new Uint8Array(span)
      readTensor(tensor, from * size, all)
      for (let i = 0; i < count; i++)
        bytes.set(all.subarray(i * step * size, i * step * size + size), i * size)
    } else
      for (let i = 0; i < count; i++)
        readTensor(tensor, (from + i * step) * size, bytes.subarray(i * size, (i + 1) * size))
    const read = fromConstant(tensorFromBytes(tensor.dataType, [count], bytes))
    return read ? Array.from(numbersOf(read)) : []
  }
}

const areAllAlike = (a: readonly number[][], b: readonly number[][]): boolean =>
  a.every((line, index) => areAlike(line, b[index] ?? []))

/** Correlation close to 1. */
function areAlike(a: readonly number[], b: readonly number[]): boolean {
  const mean = (all: readonly number[]): number =>
    all.reduce((sum, each) => sum + each, 0) / all.length
  const [p, q] = [mean(a), mean(b)]
  let [ab, aa, bb] = [0, 0, 0]
  for (const [i, each] of a.entries()) {
    const [u, v] = [each - p, (b[i] as number) - q]
    ab += u * v
    aa += u * u
    bb += v * v
  }
  return aa > 0 && bb > 0 && ab / Math.sqrt(aa * bb) > 0.99
}
