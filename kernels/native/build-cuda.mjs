/**
 * Builds the kernels for CUDA with nvcc: Hopper's for it alone, the others from Ampere on, and as
 * PTX for what comes after. No device is needed, nor a driver.
 */
import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const isExecutable = (path) => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** `NVCC`, or the first on the path, or where CUDA is installed by itself. */
export function findCudaCompiler() {
  if (process.env.NVCC) return process.env.NVCC
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/cuda/bin']
  return folders.map((folder) => join(folder, 'nvcc')).find(isExecutable)
}

const hopper = ['-gencode=arch=compute_90a,code=sm_90a']
const all = [
  '-gencode=arch=compute_80,code=sm_80',
  '-gencode=arch=compute_90,code=[sm_90,compute_90]',
]
const sources = [
  ...['attention', 'bias-tiles', 'plan', 'decode', 'ampere', 'gradient', 'general'].map((name) => [
    name,
    all,
  ]),
  ['hopper', hopper],
].map(([name, targets]) => [`block-attention/cuda/${name}.cu`, targets])
const operators = [
  'block-layouts',
  'cuda-launch',
  'cuda-block-attention',
  'cuda-attention-gradient',
  'cuda-row-program',
  'cuda-register',
].map((name) => `native/${name}.cpp`)
const rowPrograms = ['program', 'expressions', 'source', 'device-code'].map(
  (name) => `row-program/cuda/${name}.cpp`,
)

export async function buildCuda(compiler, root, objects, target) {
  const files = [...sources, ...[...operators, ...rowPrograms].map((source) => [source, []])]
  const built = files.map(async ([source, targets], at) => {
    const object = join(objects, `cuda-${at}.o`)
    const flags = ['-std=c++17', '-O3', '-Xcompiler', '-fPIC,-fvisibility=hidden', ...targets]
    await run(compiler, [...flags, '-c', join('kernels', source), '-o', object], { cwd: root })
    return object
  })
  const linked = [
    '-shared',
    '-cudart',
    'static',
    '-Xlinker',
    '--exclude-libs,ALL',
    '-Xlinker',
    '-s',
  ]
  await run(compiler, [...linked, ...(await Promise.all(built)), '-o', target])
}
