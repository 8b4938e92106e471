/**
 * Writes one file from ranges: while one buffer goes to the disk, the next is filled.
 * Memory is two buffers, whatever the file's size. Waiting for the disk lets signals in.
 */
import { type FileHandle, open } from 'node:fs/promises'
import type { ByteSource } from '../onnx/messages.js'

const bufferBytes = 8 << 20
/** The disk is told to start writing after so much, so that the last flush does not wait for all of it. */
const flushBytes = 256 << 20

export interface WriteWatch {
  readonly signal?: AbortSignal | undefined
  onBytes?(count: number): void
}

export class StreamWriter implements AsyncDisposable {
  private readonly buffers: [Buffer, Buffer]
  private used = 0
  private written = 0
  private unflushed = 0
  private pending: Promise<unknown> = Promise.resolve()
  private syncing: Promise<void> | undefined
  /** A failure of the disk is told once, to whoever asks first: it is kept for the end. */
  private syncFailure: unknown

  private constructor(
    private readonly handle: FileHandle,
    private readonly watch: WriteWatch,
    size: number,
  ) {
    this.buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)]
  }

  /** A new file. `expectedBytes` keeps the buffers of small files small. */
  static async create(
    path: string,
    watch: WriteWatch,
    expectedBytes = bufferBytes,
  ): Promise<StreamWriter> {
    const size = Math.max(64 << 10, Math.min(bufferBytes, expectedBytes))
    return new StreamWriter(await open(path, 'wx'), watch, size)
  }

  get position(): number {
    return this.written + this.used
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.fillFrom(bytes.length, (from, target) => {
      target.set(bytes.subarray(from, from + target.length))
    })
  }

  /** `seen` gets every range as it passes, for instance to hash it. */
  async appendSource(source: ByteSource, seen?: (bytes: Uint8Array) => void): Promise<void> {
    const whole = source.whole?.()
    await this.fillFrom(source.byteLength, (from, target) => {
      if (whole) target.set(whole.subarray(from, from + target.length))
      else source.read(from, target)
      seen?.(target)
    })
  }

  async padTo(position: number): Promise<void> {
    await this.fillFrom(position - this.position, (_, target) => target.fill(0))
  }

  /** Everything is on the disk when this returns. */
  async finish(): Promise<void> {
    await this.flush()
    await this.pending
    await this.syncing
    if (this.syncFailure) throw this.syncFailure
    await this.handle.sync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([this.pending, this.syncing])
    await this.handle.close()
  }

  private async fillFrom(
    length: number,
    fill: (from: number, target: Uint8Array) => void,
  ): Promise<void> {
    for (let done = 0; done < length; ) {
      const [buffer] = this.buffers
      const count = Math.min(length - done, buffer.length - this.used)
      fill(done, buffer.subarray(this.used, this.used + count))
      this.used += count
      done += count
      if (this.used === buffer.length) await this.flush()
    }
  }

  /** Starts the write of the full buffer, after the write of the other one. */
  private async flush(): Promise<void> {
    await this.pending
    this.watch.signal?.throwIfAborted()
    const [full, free] = this.buffers
    const { used, written } = this
    this.buffers[0] = free
    this.buffers[1] = full
    this.used = 0
    this.written += used
    this.unflushed += used
    this.pending = this.writeOut(full.subarray(0, used), written)
    // Whoever waits next gets the error; until then it must not count as unhandled.
    this.pending.catch(() => undefined)
    if (this.unflushed >= flushBytes && !this.syncing) {
      this.unflushed = 0
      this.syncing = this.sync()
    }
    this.watch.onBytes?.(used)
  }

  private async sync(): Promise<void> {
    try {
      await this.handle.datasync()
    } catch (error) {
      this.syncFailure = error
    } finally {
      this.syncing = undefined
    }
  }

  private async writeOut(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.handle.write(
        bytes,
        done,
        bytes.length - done,
        position + done,
      )
      done += bytesWritten
    }
  }
}
