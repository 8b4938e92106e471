/** What the CUDA kernel for the backward pass takes. */
import type { CanRun, KernelType } from '../kernel.js'

const LARGEST_HEAD = 128
const storage = ['float16', 'bfloat16']

/** Of query [B, H, S, d], key [B, K, T, d] and value [B, K, T, e]; only the head sizes d and e have to be known. */
export function canRunOnCuda([query, , value]: readonly (KernelType | undefined)[]): CanRun {
  if (!query || !storage.includes(query.dataType))
    return { ok: false, reason: `tensors are ${query?.dataType}; expected ${storage.join(' or ')}` }
  const [d, e] = [query.dims[3] ?? Number.NaN, value?.dims[3] ?? Number.NaN]
  if (d <= LARGEST_HEAD && e <= LARGEST_HEAD) return { ok: true }
  return { ok: false, reason: `head sizes are ${d} and ${e}; the largest is ${LARGEST_HEAD}` }
}
