/**
 * Where a model can run, and why elsewhere it can't. A provider is tried by running a tiny graph in a
 * process of its own: a driver that crashes or hangs takes nothing else with it.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { AttncError } from '../errors.js'
import { keepRuntimeSilent } from './telemetry.js'

/** ONNX Runtime's execution providers that attnc knows. */
export type ProviderName = 'cpu' | 'cuda' | 'webgpu'
const providerNames: readonly ProviderName[] = ['cuda', 'webgpu', 'cpu']

/** Whether a provider works here, why not, and what would help. */
export interface Availability {
  readonly available: boolean
  readonly reason?: string
  readonly suggestion?: string
}

/** A graph of one MatMul [4, 4], as ONNX bytes in base64: IR 8, opset 17. */
export const probeModel =
  'CAg6UAoRCgFhCgFhEgF5IgZNYXRNdWwSAXBaGwoBYRIWChQIARIQCgIIBAoCCAQKAggECgIIBGIbCgF5EhYKFAgBEhAKAggECgIIBAoCCAQKAggEQgQKABAR'

const probeTimeoutMs = 30_000

/** Tries one provider. Never throws. */
export async function probeProvider(name: ProviderName): Promise<Availability> {
  if (name === 'cpu') return { available: true }
  keepRuntimeSilent()
  if (name === 'cuda') {
    const missing = missingCuda()
    if (missing) return missing
  }
  const require = createRequire(import.meta.url)
  const script = `
    const ort = require(${JSON.stringify(require.resolve('onnxruntime-node'))})
    const model = Buffer.from(${JSON.stringify(probeModel)}, 'base64')
    ort.InferenceSession.create(model, { executionProviders: [${JSON.stringify(name)}], logSeverityLevel: 4 })
      .then((session) => session.run({ a: new ort.Tensor('float32', new Float32Array(256).fill(1), [4, 4, 4, 4]) }))
      .then(({ y }) => { if (y.data[0] !== 4) throw new Error('4 ones in a row gave ' + y.data[0]) })
      .then(() => process.exit(0), (error) => { process.stderr.write(String(error.message)); process.exit(3) })`
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['-e', script],
      { timeout: probeTimeoutMs },
      (error, _stdout, stderr) => {
        if (!error) return resolve({ available: true })
        const text = error.killed
          ? `it did not answer within ${probeTimeoutMs / 1000} s`
          : readable(stderr.trim().split('\n').at(-1) ?? error.message)
        resolve({ available: false, reason: text.slice(0, 400), suggestion: advice(name, text) })
      },
    )
  })
}

/** Without the place in ONNX Runtime's sources that it happened in. */
const readable = (text: string): string => text.replace(/^\/\S+\.cc:\d+ .* was false\. /, '')

function advice(name: ProviderName, text: string): string {
  if (name === 'webgpu') return 'WebGPU needs a GPU with a Vulkan, Metal or D3D12 driver.'
  const library = /(lib[\w.+-]+\.so[.\d]*)/.exec(text)?.[1]
  return library
    ? `Put the folder that holds ${library} on LD_LIBRARY_PATH.`
    : 'CUDA 13 (cuBLAS, cuRAND, cudart) and cuDNN 9 have to be on LD_LIBRARY_PATH, and an NVIDIA driver installed.'
}

const cudaFiles = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so']

/** The folder from which onnxruntime-node loads its libraries. */
export function runtimeLibraries(): string {
  const package_ = createRequire(import.meta.url).resolve('onnxruntime-node/package.json')
  return join(dirname(package_), 'bin', 'napi-v6', process.platform, process.arch)
}

export const runtimeVersion = (): string =>
  (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version

function missingCuda(): Availability | undefined {
  if (process.platform === 'darwin')
    return { available: false, reason: 'CUDA does not exist on macOS.' }
  if (process.platform === 'win32') return undefined
  const folder = runtimeLibraries()
  const missing = cudaFiles.filter((file) => !existsSync(join(folder, file)))
  if (missing.length === 0) return undefined
  return {
    available: false,
    reason: `${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} not beside onnxruntime-node's own library in "${folder}".`,
    suggestion: `pip download --no-deps onnxruntime-gpu==${runtimeVersion()}, unzip the wheel, and set ATTNC_CUDA_LIBRARIES to the folder that holds ${cudaFiles[1]} (onnxruntime/capi); "attnc doctor" then links them.`,
  }
}

/** The provider that is taken. */
export interface ChosenProvider {
  readonly name: ProviderName
  /** Those that `auto` would have preferred, and why it couldn't. */
  readonly passedOver: readonly { readonly provider: ProviderName; readonly reason: string }[]
}

/** `auto` takes the first of cuda, webgpu, cpu that works. Error: PROVIDER_UNAVAILABLE. */
export async function chooseProvider(wanted: 'auto' | ProviderName): Promise<ChosenProvider> {
  const passedOver: { provider: ProviderName; reason: string }[] = []
  for (const name of wanted === 'auto' ? providerNames : [wanted]) {
    const { available, reason = '', suggestion } = await probeProvider(name)
    if (available) return { name, passedOver }
    if (wanted !== 'auto')
      throw new AttncError(
        'PROVIDER_UNAVAILABLE',
        'runtime',
        `The provider "${name}" can't be used: ${reason}`,
        { suggestions: [...(suggestion ? [suggestion] : []), 'Or use --provider cpu.'] },
      )
    passedOver.push({ provider: name, reason })
  }
  return { name: 'cpu', passedOver }
}
