import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { layoutTensors } from '../../kernels/block-sparse-attention/layout.js'
import { windowLayout } from '../../kernels/block-sparse-attention/patterns.js'
import { emitKernel } from '../../kernels/kernel.js'
import { edit } from '../../src/graph/edit.js'
import { Model } from '../../src/graph/graph.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findKernelLibrary, runtimeLibrary } from '../../src/runtime/native/library.js'

const library = findKernelLibrary()
const hosts = fileURLToPath(new URL('../../examples/hosts', import.meta.url))

const answers = (command: string, ...given: string[]): boolean =>
  spawnSync(command, given, { stdio: 'ignore' }).status === 0
const hasPython = answers('python3', '-c', 'import numpy, onnxruntime')
const headers = [
  process.env['ONNXRUNTIME_INCLUDE'] ?? '',
  '/usr/include/onnxruntime',
  '/usr/local/include/onnxruntime',
].find((folder) => folder && existsSync(join(folder, 'onnxruntime_c_api.h')))

/** Attention to 4 heads of 256 tokens, whose layout is in the model. */
function example(): Model {
  const model = new Model()
  model.opsets.set('', 17)
  edit(model.graph, 'attention', (change) => {
    const size = { queries: 256, keys: 256, queryBlock: 64, keyBlock: 64 }
    const { rows, columns } = layoutTensors(windowLayout(size, { window: 80, causal: true }))
    const inputs = ['query', 'key', 'value'].map((name) =>
      change.addInput(name, 'float32', [1, 4, 256, 64]),
    )
    const attributes = { causal: true, window: 80 }
    const layout = [change.constant(rows), change.constant(columns)]
    const node = emitKernel(change, blockSparseAttention, {
      inputs: [...inputs, ...layout],
      attributes,
    })
    const [output] = node.outputs
    if (!output) throw new TypeError('the operator has an output')
    change.setType(output, { dataType: 'float32', dims: [1, 4, 256, 64] })
    change.expose(output)
  })
  return model
}

const skipped = [
  ...(library ? [] : ['kernels are not built; "npm run build:native" builds them']),
  ...(hasPython ? [] : ['python3 has no numpy and onnxruntime']),
  ...(headers ? [] : ['no onnxruntime_c_api.h; ONNXRUNTIME_INCLUDE names its folder']),
]
for (const reason of skipped) process.stderr.write(`skipped: ${reason}\n`)

describe.runIf(library)('the kernel library in another host', () => {
  const file = materialise(example())
  const folder = mkdtempSync(join(tmpdir(), 'attnc-hosts-'))
  afterAll(() => {
    file.dispose()
    rmSync(folder, { recursive: true })
  })
  const difference = (text: string): number =>
    Number(/largest difference (\S+)/.exec(text)?.[1] ?? Number.NaN)

  it.runIf(hasPython)('gives in Python what the body gives', () => {
    const given = [join(hosts, 'run.py'), file.path, library as string]
    const text = execFileSync('python3', given, { encoding: 'utf8' })
    expect(difference(text)).toBeLessThan(2e-6)
  })

  it.runIf(headers && answers('g++', '--version'))('gives in C++ what the body gives', () => {
    const program = join(folder, 'run')
    const runtime = runtimeLibrary()
    const flags = ['-std=c++17', `-I${headers}`, runtime, `-Wl,-rpath,${dirname(runtime)}`]
    execFileSync('g++', [join(hosts, 'run.cpp'), ...flags, '-o', program])
    const text = execFileSync(program, [file.path, library as string], { encoding: 'utf8' })
    expect(difference(text)).toBeLessThan(2e-6)
  })
})
