/**
 * Memory of results that nobody reads any more, given back at once. It lies outside of JavaScript's heap, and every
 * 64 MB of it make V8 look for garbage through all that lives, a whole graph among it.
 */
import type { RuntimeTensor } from '../onnx/numbers.js'
import { findAddon } from './native/library.js'

/** The arrays are empty from then on. Without attnc's addon it is left to V8. */
export function letGo(results: Iterable<Pick<RuntimeTensor, 'data'>>): void {
  const addon = findAddon()
  for (const { data } of results) if (ArrayBuffer.isView(data)) addon?.detach?.(data.buffer)
}

/** Less than this is not worth the call. */
const SMALLEST = 1 << 16

/** The same of matrices that were a step on the way, whoever made them. */
export function letGoOf(...matrices: readonly (Float64Array | Float32Array | undefined)[]): void {
  const addon = findAddon()
  for (const each of matrices)
    if (each && each.buffer.byteLength >= SMALLEST) addon?.detach?.(each.buffer)
}
