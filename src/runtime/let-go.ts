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
