/**
 * Saves a made-up model in a process of its own, for what tests do to a process: limits, mounts, signals.
 * Usage: save-model.ts OUTPUT TENSORS MILLISECONDS [force]. Each tensor has 8 MB and takes so long to
 * make. Prints "writing" once bytes go out, and how it ended; the exit code is that of the error.
 */
import { AttncError } from '../../src/errors.js'
import { edit } from '../../src/graph/edit.js'
import { importModel } from '../../src/graph/import.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { lazyTensor } from '../../src/onnx/tensor.js'
import { attentionModel } from '../fuzz/models.js'

const [output = '', tensors, milliseconds, force] = process.argv.slice(2)
const model = importModel(attentionModel())
edit(model.graph, 'test', (change) => {
  for (let index = 0; index < Number(tensors); index++)
    change.constant(
      lazyTensor('uint8', [8 << 20], () => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(milliseconds))
        return new Uint8Array(8 << 20).fill(index)
      }),
    )
})
const controller = new AbortController()
process.on('SIGINT', () => controller.abort())
const print = (text: string): boolean => process.stdout.write(`${text}\n`)
let isWriting = false
try {
  await saveModelFolder({
    models: { 'model.onnx': model },
    to: output,
    force: force === 'force',
    signal: controller.signal,
    onProgress: () => {
      if (!isWriting) print('writing')
      isWriting = true
    },
  })
  print('SAVED')
} catch (error) {
  if (!(error instanceof AttncError)) throw error
  print(error.code)
  process.exitCode = error.oclif.exit
}
