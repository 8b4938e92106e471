/**
 * `ATTNC_CUDA_LIBRARIES` names a folder with ONNX Runtime's CUDA provider. ONNX Runtime looks for it
 * beside its own library only, so links are put there.
 */
import { existsSync, rmSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { AttncError } from '../errors.js'
import { runtimeLibraries } from './provider.js'

const files = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so']

/** Links the libraries where they are missing; returns what was linked. Errors: CUDA_LIBRARIES. */
export function linkCudaLibraries(folder = process.env['ATTNC_CUDA_LIBRARIES']): string[] {
  if (!folder) return []
  const linked: string[] = []
  for (const file of files) {
    const source = resolve(folder, file)
    const target = join(runtimeLibraries(), file)
    if (existsSync(target)) continue
    if (!existsSync(source))
      throw new AttncError(
        'CUDA_LIBRARIES',
        'runtime',
        `ATTNC_CUDA_LIBRARIES is "${folder}", and there is no ${file}.`,
        {
          suggestions: [
            'Name the folder "onnxruntime/capi" of the unpacked onnxruntime-gpu wheel.',
          ],
        },
      )
    try {
      // What is there and doesn't exist is a link to something that is gone.
      rmSync(target, { force: true })
      symlinkSync(source, target)
    } catch (cause) {
      // Another process was quicker.
      if (existsSync(target)) continue
      throw new AttncError('CUDA_LIBRARIES', 'runtime', `"${target}" can't be made.`, {
        cause,
        suggestions: [`Copy ${file} there yourself.`],
      })
    }
    linked.push(target)
  }
  return linked
}
