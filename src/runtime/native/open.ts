/** Opens a session of the addon: which library of operators it takes, and ONNX Runtime's settings. */
import type { ProviderName } from '../provider.js'
import type { SessionOptions } from '../session.js'
import {
  findCudaKernelLibrary,
  findKernelLibrary,
  type NativeAddon,
  type OpenedNative,
  runtimeLibrary,
} from './library.js'

export interface NativeSessionOptions extends SessionOptions {
  /** Off: the bodies of attnc's operators run instead of their kernels. Or the library to take. */
  readonly kernels?: boolean | string
  /** Options of the CUDA provider, by ONNX Runtime's names: `gpu_mem_limit`, `use_tf32` … */
  readonly providerOptions?: Readonly<Record<string, string>>
  /** Entries of ONNX Runtime's session configuration: `session.…`. */
  readonly config?: Readonly<Record<string, string>>
  /** A profile of every operator is written to a file that begins so. */
  readonly profile?: string
}

const optimizationLevels = { disabled: 0, basic: 1, extended: 2, all: 99 } as const

/** On a device the processor's kernels would copy to the host and back: bodies are better there. */
const libraryFor = (provider: ProviderName): string | undefined =>
  provider === 'cuda' ? findCudaKernelLibrary() : findKernelLibrary()

const libraryOf = (kernels: NativeSessionOptions['kernels'], provider: ProviderName): string =>
  typeof kernels === 'string' ? kernels : kernels === false ? '' : (libraryFor(provider) ?? '')

export function openHandle(
  addon: NativeAddon,
  options: NativeSessionOptions,
  provider: ProviderName,
): Promise<OpenedNative> {
  return addon.open(runtimeLibrary(), {
    model: options.path,
    kernels: libraryOf(options.kernels, provider),
    threads: options.threads ?? 0,
    optimization: optimizationLevels[options.optimization ?? 'all'],
    cuda: provider === 'cuda',
    providerOptions: Object.entries({
      ...(options.replays ? { enable_cuda_graph: '1' } : {}),
      ...(options.sparing ? { arena_extend_strategy: 'kSameAsRequested' } : {}),
      ...options.providerOptions,
    }),
    // What can't be recorded is opened again, and nothing is wrong.
    severity: options.quiet === false && !options.replays ? 3 : 4,
    config: Object.entries({
      ...(options.prepacking === false ? { 'session.disable_prepacking': '1' } : {}),
      ...(options.takesTurns ? { 'session.force_spinning_stop': '1' } : {}),
      ...options.config,
    }),
    profile: options.profile ?? '',
    memoryPattern: !options.sparing,
    inPlace: options.replays ? Object.entries(options.inPlace ?? {}) : [],
  })
}
