/** Whether sessions on a GPU have attnc's own kernels. */
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
