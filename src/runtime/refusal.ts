/** What ONNX Runtime says when it doesn't open a model, as an error with a next step. */
import { AttncError } from '../errors.js'
import type { ProviderName } from './provider.js'
import type { SessionOptions } from './session.js'

export function explainRefusal(
  error: unknown,
  options: SessionOptions,
  provider: ProviderName,
): unknown {
  if (options.signal?.aborted || error instanceof AttncError) return error
  const text = error instanceof Error ? error.message : String(error)
  if (provider !== 'cpu' && /provider|library|CUDA|WebGPU/i.test(text))
    return new AttncError(
      'PROVIDER_FAILED',
      'runtime',
      `The provider "${provider}" can't run "${options.path}": ${text}`,
      { cause: error, suggestions: ['Run "attnc doctor", or use --provider cpu.'] },
    )
  return new AttncError(
    'SESSION_REFUSED',
    'model',
    `ONNX Runtime can't load "${options.path}": ${text}`,
    { cause: error, suggestions: ['Run "attnc inspect" on the model to see what it is made of.'] },
  )
}
