/**
 * Where attnc's compiled parts lie: the kernel library, which any host of ONNX Runtime can load, and
 * the addon that runs sessions with it. Both are built by `npm run build:native`; without them
 * attnc works all the same, by onnxruntime-node and the bodies that models carry.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { runtimeLibraries } from '../provider.js'
import { keepRuntimeSilent } from '../telemetry.js'

const require = createRequire(import.meta.url)

/** `ATTNC_NATIVE` names another folder, as that of a build with sanitizers. */
const nativeFolder = (): string =>
  process.env['ATTNC_NATIVE'] ??
  join(
    dirname(require.resolve('attnc/package.json')),
    'kernels',
    'prebuilt',
    `${process.platform}-${process.arch}`,
  )

const findFile = (name: string): string | undefined => {
  const path = join(nativeFolder(), name)
  return existsSync(path) ? path : undefined
}

/** The library of operators, for `register_custom_ops_library` and the like. */
export const findKernelLibrary = (): string | undefined => findFile('libattnc_kernels.so')

/** The one for sessions on CUDA, which take it instead. Built where nvcc was found. */
export const findCudaKernelLibrary = (): string | undefined => findFile('libattnc_kernels_cuda.so')

/** A tensor as the addon takes it: in JavaScript's memory … */
export interface NativeTensor {
  readonly type: number
  readonly dims: readonly number[]
  readonly data: ArrayBufferView
}

/** … or held by ONNX Runtime. Opaque. */
export type NativeHandle = { readonly __attnc: 'tensor' }
export type NativeSessionHandle = { readonly __attnc: 'session' }

export interface NativeOutput {
  readonly type: number
  readonly dims: readonly number[]
  readonly buffer?: ArrayBuffer
  readonly handle?: NativeHandle
}

export interface NativePort {
  readonly name: string
  readonly type: number
  readonly dims: readonly (number | string)[]
}

export interface ArenaMemory {
  readonly inUse: number
  /** The most that was in use at once. */
  readonly mostInUse: number
  /** What the arena took from the system or the GPU, in use or not. */
  readonly taken: number
}

export interface OpenedNative {
  readonly handle: NativeSessionHandle
  readonly inputs: readonly NativePort[]
  readonly outputs: readonly NativePort[]
}

export interface NativeRun {
  readonly outputs: readonly NativeOutput[]
  readonly milliseconds: number
}

export interface NativeAddon {
  open(
    runtime: string,
    options: {
      readonly model: string
      readonly kernels: string
      readonly threads: number
      readonly optimization: number
      /** Of what ONNX Runtime prints: 3 is errors, 4 only what is fatal. */
      readonly severity: number
      readonly cuda: boolean
      readonly providerOptions: readonly (readonly [string, string])[]
      readonly config: readonly (readonly [string, string])[]
      readonly profile: string
      readonly memoryPattern: boolean
      /** Outputs, and the inputs whose place they are written to, in `replay`. */
      readonly inPlace: readonly (readonly [string, string])[]
    },
  ): Promise<OpenedNative>
  run(
    session: NativeSessionHandle,
    feeds: readonly (readonly [string, NativeTensor | NativeHandle])[],
    fetches: readonly (readonly [string, boolean])[],
  ): Promise<NativeRun>
  /**
   * A run over tensors that stay where they are: outputs in `carry` become the inputs that stand beside them,
   * what is not fed is as it was, `fetches` are handed out.
   */
  replay?(
    session: NativeSessionHandle,
    feeds: readonly (readonly [string, NativeTensor])[],
    carry: readonly (readonly [string, string])[],
    fetches: readonly string[],
  ): Promise<NativeRun>
  close(session: NativeSessionHandle): void
  /** Lets go of a tensor that ONNX Runtime holds; it can't be fed again. */
  release?(tensor: NativeHandle): void
  /** Frees the memory of an array now; arrays over it are empty. */
  detach?(buffer: ArrayBufferLike): void
  /** Ends the run in progress at its next node; its promise rejects. */
  cancel(session: NativeSessionHandle): void
  endProfiling(session: NativeSessionHandle): string
  /** Bytes of the arena on the session's device; zeros where ONNX Runtime is older than 1.23. */
  memory?(session: NativeSessionHandle): ArenaMemory
  /**
   * From now on faults in ONNX Runtime's work stop that work for good and not the process; their signals' numbers come
   * out of the file descriptor. Once in a process.
   */
  watchForCrashes?(): number
  /** What this process asks for beyond so many bytes it doesn't get. */
  limitMemory?(bytes: number): void
  /** Ends the process without a look at its threads. */
  leave?(code: number): never
  /** What the kernels of the library run with on this machine. */
  instructionSet(library: string): string
  /** Why the library for CUDA can't compile row programs here; null where it can. */
  missingCompiler?(library: string): string | null
  /** Replaces numbers ≤ 0 by their exponentials as the kernels compute them; for tests. */
  exponential(library: string, numbers: Float32Array): void
}

/** The addon, or why there is none: it was not built, or the system could not load it. */
export function loadAddon(): NativeAddon | { readonly missing: string } {
  const path = findFile('attnc_session.node')
  if (!path) return { missing: 'not built' }
  keepRuntimeSilent()
  try {
    return require(path) as NativeAddon
  } catch (error) {
    return { missing: `${path} can't be loaded: ${(error as Error).message}` }
  }
}

/** The addon, where there is one. */
export function findAddon(): NativeAddon | undefined {
  const addon = loadAddon()
  return 'missing' in addon ? undefined : addon
}

/** ONNX Runtime's own library, as onnxruntime-node ships it. */
export const runtimeLibrary = (): string => join(runtimeLibraries(), 'libonnxruntime.so.1')
