/**
 * Reads a model file and leaves its weights where they are.
 * 1. A walk over the outer fields finds each large `raw_data` of an initializer and skips it.
 * 2. What remains, a small message, is decoded. 3. The skipped ranges are put back as byte sources.
 * The surprise: a 2 GB file costs as much memory as its graph.
 */
import { closeSync } from 'node:fs'
import { AttncError } from '../errors.js'
import { decodeModel, decodeTensor } from './codec.js'
import { FileBytes, type FileStamp, fill, openForReading, stampFile } from './file-bytes.js'
import type { ModelMessage, TensorMessage } from './messages.js'
import { fieldNumbers } from './schema.js'
import { sniff } from './sniff.js'

export interface ModelFile {
  readonly message: ModelMessage
  readonly stamp: FileStamp
}

/** Initializers of this size and more stay in the file. */
const lazyBytes = 64 * 1024

/** Reads the message of an .onnx file; initializers are views of the file. */
export function readModelFile(path: string): ModelFile {
  const stamp = stampFile(path)
  const descriptor = openForReading(path)
  try {
    const head = new Uint8Array(Math.min(stamp.size, 512))
    try {
      fill(descriptor, 0, head, path)
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'EISDIR' ? notAFile(path) : error
    }
    const guess = sniff(head)
    if (guess) throw notAModel(path, guess)
    const outline = new OutlineReader(descriptor, path, stamp)
    const message = decodeOutline(outline.read(), path)
    outline.putBack(message)
    return { message, stamp }
  } finally {
    closeSync(descriptor)
  }
}

/** Fields of the file that are walked through, outermost first; the last is the one that is skipped. */
const route = [
  fieldNumbers.modelGraph,
  fieldNumbers.graphInitializer,
  fieldNumbers.tensorRawData,
] as const

class OutlineReader {
  /** Ranges by the number of their initializer in the order of the file. */
  private readonly skipped = new Map<number, FileBytes>()
  private initializers = 0
  private position = 0
  private window = new Uint8Array(0)
  private windowStart = 0

  constructor(
    private readonly descriptor: number,
    private readonly path: string,
    private readonly stamp: FileStamp,
  ) {}

  /** The file without the skipped ranges, still a well-formed message. */
  read(): Uint8Array {
    return Buffer.concat(this.readMessage(this.stamp.size, 0))
  }

  putBack(message: ModelMessage): void {
    const initializers = message.graph?.initializer as (TensorMessage & { raw_data?: unknown })[]
    for (const [index, bytes] of this.skipped) {
      const tensor = initializers[index]
      if (tensor) tensor.raw_data = bytes
    }
  }

  private readMessage(end: number, depth: number): Uint8Array[] {
    const kept: Uint8Array[] = []
    while (this.position < end) {
      const start = this.position
      const tag = this.varint(end)
      const field = Math.floor(tag / 8)
      const wireType = tag % 8
      if (wireType === 2) {
        const length = this.varint(end)
        const next = this.position + length
        if (next > end) throw this.truncated(start, length, end)
        if (field !== route[depth]) {
          kept.push(this.bytes(start, next))
        } else if (depth < 2) {
          const index = this.initializers
          const inner = this.readMessage(next, depth + 1)
          if (depth === 1) this.initializers = index + 1
          kept.push(lengthDelimited(field, inner))
        } else if (length < lazyBytes) {
          kept.push(this.bytes(start, next))
        } else {
          this.skipped.set(this.initializers, new FileBytes(this.stamp, this.position, length))
        }
        this.position = next
      } else {
        this.skipScalar(wireType, end)
        kept.push(this.bytes(start, this.position))
      }
    }
    return kept
  }

  private skipScalar(wireType: number, end: number): void {
    if (wireType === 0) this.varint(end)
    else if (wireType === 1) this.position += 8
    else if (wireType === 5) this.position += 4
    else
      throw new AttncError(
        'NOT_PROTOBUF',
        'model',
        `Cannot read "${this.path}": byte ${this.position} has the wire type ${wireType}, which no ONNX field has.`,
        { suggestions: ['Pass a model in the ONNX format.'] },
      )
    if (this.position > end) throw this.truncated(this.position, 0, end)
  }

  private varint(end: number): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 10; count++) {
      if (this.position >= end) throw this.truncated(this.position, 1, end)
      const byte = this.byteAt(this.position++)
      value += (byte & 127) * scale
      scale *= 128
      if (byte < 128) return value
    }
    throw new AttncError(
      'NOT_PROTOBUF',
      'model',
      `Cannot read "${this.path}": the number that ends at byte ${this.position} has more than ten bytes.`,
      { suggestions: ['Pass a model in the ONNX format.'] },
    )
  }

  private byteAt(position: number): number {
    const at = position - this.windowStart
    if (at >= 0 && at < this.window.length) return this.window[at] as number
    this.window = new Uint8Array(Math.min(64 * 1024, this.stamp.size - position))
    this.windowStart = position
    fill(this.descriptor, position, this.window, this.path)
    return this.window[0] as number
  }

  private bytes(start: number, end: number): Uint8Array {
    const from = start - this.windowStart
    if (from >= 0 && end - this.windowStart <= this.window.length)
      return this.window.subarray(from, end - this.windowStart)
    const bytes = new Uint8Array(end - start)
    fill(this.descriptor, start, bytes, this.path)
    return bytes
  }

  private truncated(at: number, length: number, end: number): AttncError {
    return new AttncError(
      'TRUNCATED_MODEL',
      'model',
      `Cannot read "${this.path}": the field at byte ${at} says it has ${length} bytes, but its message ends at byte ${end}` +
        (end === this.stamp.size ? ', where the file ends.' : '.'),
      { suggestions: ['Copy or download the file again and compare its size.'] },
    )
  }
}

function lengthDelimited(field: number, inner: Uint8Array[]): Uint8Array {
  const prefix = [...varintBytes(field * 8 + 2)]
  prefix.push(...varintBytes(inner.reduce((sum, part) => sum + part.length, 0)))
  return Buffer.concat([Uint8Array.from(prefix), ...inner])
}

function* varintBytes(value: number): IterableIterator<number> {
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) yield (rest % 128) | 128
  yield rest
}

function decodeOutline(bytes: Uint8Array, path: string): ModelMessage {
  let message: ModelMessage
  try {
    message = decodeModel(bytes, `"${path}"`)
  } catch (error) {
    throw isTensor(bytes) ? notAModel(path, tensorGuess) : error
  }
  if (Object.hasOwn(message, 'graph') && Object.hasOwn(message, 'ir_version')) return message
  throw notAModel(
    path,
    isTensor(bytes) ? tensorGuess : 'a protobuf message without an IR version and a graph',
  )
}

/** The usual mix-up: a file of a test data set. */
const tensorGuess = 'an ONNX tensor (as in a test data set), not a model'

function isTensor(bytes: Uint8Array): boolean {
  try {
    const tensor = decodeTensor(bytes)
    return Object.hasOwn(tensor, 'data_type') && Object.hasOwn(tensor, 'dims')
  } catch {
    return false
  }
}

const notAModel = (path: string, guess: string): AttncError =>
  new AttncError(
    guess.includes('without an IR version') || guess.includes('ONNX tensor')
      ? 'NOT_A_MODEL'
      : 'NOT_PROTOBUF',
    'model',
    `"${path}" is not an ONNX model: it looks like ${guess}.`,
    {
      suggestions: guess.includes('Git LFS')
        ? ['Fetch the file itself: git lfs pull.']
        : ['Pass an .onnx file, or export the model to ONNX first.'],
    },
  )

const notAFile = (path: string): AttncError =>
  new AttncError('NOT_A_MODEL', 'model', `"${path}" is a folder, where a file was expected.`, {
    suggestions: ['Pass the .onnx file inside it.'],
  })
