/**
 * One file of external data, written tensor after tensor. What is already in it is not written again:
 * the same tensor, the same bytes of a source file, or, where several models share the file, the same
 * content (two models cut in the same way keep sharing their weights).
 */
import { createHash } from 'node:crypto'
import type { ByteSource } from '../onnx/messages.js'
import { contentKey, type Tensor } from '../onnx/tensor.js'
import type { StreamWriter } from './stream-writer.js'

/** ONNX Runtime maps external data; a mapping starts at a page. */
const pageBytes = 4096
/** Small tensors need not take a page each. */
const smallAlignment = 64

export class WeightsFile {
  private readonly byTensor = new Map<Tensor, number>()
  private readonly bySource = new Map<string | object, number>()
  private readonly byContent = new Map<string, number>()
  private readonly sizes = new Set<number>()

  constructor(
    private readonly writer: StreamWriter,
    /** Whether more than one model writes to it. */
    private readonly isShared: boolean,
  ) {}

  /** Where a tensor was written. */
  offsetOf(tensor: Tensor): number | undefined {
    return this.byTensor.get(tensor)
  }

  async add(tensor: Tensor): Promise<void> {
    if (this.byTensor.has(tensor)) return
    const sourceKey = contentKey(tensor)
    const known = sourceKey === undefined ? undefined : this.bySource.get(sourceKey)
    const offset = known ?? this.findContent(tensor) ?? (await this.write(tensor))
    this.byTensor.set(tensor, offset)
    if (sourceKey !== undefined) this.bySource.set(sourceKey, offset)
  }

  private async write(tensor: Tensor): Promise<number> {
    const { byteLength } = tensor
    const alignment = byteLength >= pageBytes ? pageBytes : smallAlignment
    await this.writer.padTo(Math.ceil(this.writer.position / alignment) * alignment)
    const offset = this.writer.position
    const hash = this.isShared ? createHash('sha256') : undefined
    await this.writer.appendSource(byteSource(tensor), hash && ((bytes) => hash.update(bytes)))
    if (hash) {
      this.byContent.set(`${byteLength}\0${hash.digest('hex')}`, offset)
      this.sizes.add(byteLength)
    }
    return offset
  }

  private findContent(tensor: Tensor): number | undefined {
    const { byteLength } = tensor
    if (!this.sizes.has(byteLength)) return undefined
    const hash = createHash('sha256')
    for (const chunk of chunksOf(byteSource(tensor))) hash.update(chunk)
    return this.byContent.get(`${byteLength}\0${hash.digest('hex')}`)
  }
}

const byteSource = (tensor: Tensor): ByteSource => ({
  byteLength: tensor.byteLength,
  read: (from, target) => tensor.read?.(from, target),
  ...(tensor.read ? {} : { whole: () => tensor.bytes() }),
})

function* chunksOf(source: ByteSource): IterableIterator<Uint8Array> {
  const whole = source.whole?.()
  if (whole) {
    yield whole
    return
  }
  const buffer = Buffer.allocUnsafeSlow(Math.min(source.byteLength, 4 << 20))
  for (let from = 0; from < source.byteLength; from += buffer.length) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, source.byteLength - from))
    source.read(from, chunk)
    yield chunk
  }
}
