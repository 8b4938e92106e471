/** What sessions on a GPU have of attnc's own kernels. */
import { askDevice } from './ask-device.js'
import { findAddon, findCudaKernelLibrary } from './native/library.js'
import type { ProviderName } from './provider.js'

/** The first compute capability with the instructions that the kernels for training are written in: Ampere's. */
const OLDEST = 8

export const hasTrainingKernels = (provider: ProviderName): boolean =>
  provider === 'cuda' &&
  process.env['ATTNC_ENGINE'] !== 'thread' &&
  findAddon() !== undefined &&
  findCudaKernelLibrary() !== undefined &&
  (askDevice('compute_cap') ?? 0) >= OLDEST

/** Why row programs can't be compiled for this provider; undefined where they can. */
export function missingCompiler(provider: ProviderName): string | undefined {
  const library = findCudaKernelLibrary()
  if (!hasTrainingKernels(provider) || !library) return 'there are no kernels for CUDA'
  const addon = findAddon()
  return addon?.missingCompiler
    ? (addon.missingCompiler(library) ?? undefined)
    : 'the addon is older'
}

export const compilesRowPrograms = (provider: ProviderName): boolean =>
  missingCompiler(provider) === undefined
