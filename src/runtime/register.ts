/**
 * `import 'attnc/register'`: ordinary `InferenceSession.create(model)` of onnxruntime-node runs by attnc's
 * addon, in which the operators of the domain `attnc` have their kernels. onnxruntime-node takes no library of
 * operators, but lets backends register themselves; one that is named, as ['cpu'], is taken as before.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Backend,
  type InferenceSession,
  type InferenceSessionHandler,
  type OnnxValue,
  registerBackend,
  Tensor,
} from 'onnxruntime-node'
import { AttncError } from '../errors.js'
import type { DataType } from '../onnx/data-type.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { findAddon, findKernelLibrary } from './native/library.js'
import { type NativeSession, openNativeSession } from './native/session.js'

/** Above those of onnxruntime-node, which begin at 100: what names no provider comes here first. */
const PRIORITY = 200

const backend: Backend = {
  async init() {
    if (!findAddon() || !findKernelLibrary())
      throw new AttncError('NATIVE_MISSING', 'runtime', "attnc's session addon is not built.", {
        suggestions: ['Run "npm run build:native"; it needs g++ and nothing else.'],
      })
  },
  async createInferenceSessionHandler(model, options = {}) {
    if (typeof model === 'string') return new Handler(await open(model, options), options)
    // The addon opens files; a model in memory has no external data to lie beside it.
    const folder = await mkdtemp(join(tmpdir(), 'attnc-'))
    try {
      const path = join(folder, 'model.onnx')
      await writeFile(path, model)
      return new Handler(await open(path, options), options)
    } finally {
      await rm(folder, { recursive: true })
    }
  },
}

const open = (path: string, options: InferenceSession.SessionOptions): Promise<NativeSession> =>
  openNativeSession({
    path,
    threads: options.intraOpNumThreads,
    optimization:
      options.graphOptimizationLevel === 'layout'
        ? 'all'
        : (options.graphOptimizationLevel ?? 'all'),
    quiet: options.logSeverityLevel === 4,
    config: Object.fromEntries(entriesOf(options.extra ?? {}, '')),
    ...(options.enableProfiling ? { profile: options.profileFilePrefix ?? 'onnxruntime' } : {}),
  })

/** `extra` as ONNX Runtime's session configuration: { session: { disable_prepacking: '1' } } … */
function* entriesOf(extra: object, prefix: string): Generator<[string, string]> {
  for (const [name, value] of Object.entries(extra))
    if (typeof value === 'object' && value !== null) yield* entriesOf(value, `${prefix}${name}.`)
    else yield [prefix + name, String(value)]
}

class Handler implements InferenceSessionHandler {
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[]
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[]
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]

  constructor(
    private readonly session: NativeSession,
    private readonly options: InferenceSession.SessionOptions,
  ) {
    this.inputMetadata = session.inputs.map(metadataOf)
    this.outputMetadata = session.outputs.map(metadataOf)
    this.inputNames = session.inputs.map(({ name }) => name)
    this.outputNames = session.outputs.map(({ name }) => name)
  }

  async run(
    feeds: Readonly<Record<string, OnnxValue>>,
    fetches: Readonly<Record<string, OnnxValue | null>>,
  ): Promise<Record<string, OnnxValue>> {
    const given = Object.entries(feeds).map(([name, value]) => [name, toRuntime(name, value)])
    const results = await this.session.run(Object.fromEntries(given), Object.keys(fetches))
    return Object.fromEntries(
      Object.entries(results).map(([name, { dataType, data, dims }]) => [
        name,
        new Tensor(dataType as 'float32', data as Float32Array, dims),
      ]),
    )
  }

  /** A profile begins with its session. */
  startProfiling(): void {}

  endProfiling(): void {
    if (this.options.enableProfiling) this.session.endProfiling()
  }

  dispose(): Promise<void> {
    return this.session.close()
  }
}

const metadataOf = (port: NativeSession['inputs'][number]): InferenceSession.ValueMetadata => ({
  name: port.name,
  isTensor: true,
  type: port.dataType as 'float32',
  shape: port.dims,
})

function toRuntime(name: string, value: OnnxValue): RuntimeTensor {
  if (!(value instanceof Tensor) || value.type === 'string')
    throw new AttncError(
      'INPUT_TYPE',
      'model',
      `The input "${name}" is no tensor of numbers; attnc's sessions take no other.`,
      { suggestions: ['Open the session with executionProviders: ["cpu"].'] },
    )
  return { dataType: value.type as DataType, dims: value.dims, data: value.data as Float32Array }
}

registerBackend('attnc', backend, PRIORITY)
