/** What attnc's own CPU kernels for attention take. */
import { AttncError } from '../../src/errors.js'
import type { CanRun, KernelType } from '../kernel.js'

export const LARGEST_HEAD = 512
const storage = ['float32', 'float16', 'bfloat16']

export function canStore(
  check: () => { readonly d: number; readonly e: number },
  inputs: readonly (KernelType | undefined)[],
): CanRun {
  try {
    const { d, e } = check()
    if (d < 1 || e < 1 || d > LARGEST_HEAD || e > LARGEST_HEAD)
      return { ok: false, reason: `head sizes are ${d} and ${e}; the largest is ${LARGEST_HEAD}` }
  } catch (error) {
    if (error instanceof AttncError) return { ok: false, reason: error.message }
    throw error
  }
  const type = inputs[0]?.dataType ?? 'float32'
  if (storage.includes(type)) return { ok: true }
  return { ok: false, reason: `tensors are ${type}; expected one of ${storage.join(', ')}` }
}
