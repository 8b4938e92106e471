#!/usr/bin/env node
/**
 * Builds attnc's kernel library and session addon with g++ alone, and the library for CUDA where
 * nvcc is found: `npm run build:native [-- --sanitize]`.
 * The kernels are compiled once for each instruction set; which one runs is decided at run time.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import nodeApi from 'node-api-headers'
import { buildCuda, findCudaCompiler } from './build-cuda.mjs'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const compiler = process.env.CXX ?? 'g++'
const isSanitized = process.argv.includes('--sanitize')

const common = ['-std=c++17', '-fPIC', '-fvisibility=hidden', '-Wall', '-Wextra']
const optimised = isSanitized
  ? ['-O1', '-g', '-fsanitize=address,undefined', '-fno-omit-frame-pointer']
  : ['-O3', '-fno-plt']
// gcc 12 takes the undefined operands of its own AVX-512 intrinsics for a mistake.
const kernel = [
  '-fno-exceptions',
  '-fno-rtti',
  '-Wno-maybe-uninitialized',
  '-Wno-uninitialized',
  '-Wno-psabi',
]

const instructionSets =
  process.arch === 'x64'
    ? {
        avx512: ['-mavx512f', '-mavx512vl', '-mavx512bw', '-mavx512dq', '-mfma', '-mf16c'],
        avx2: ['-mavx2', '-mfma', '-mf16c'],
        baseline: [],
      }
    : { baseline: [] }

const outputPath = (name) =>
  join(
    root,
    'kernels',
    isSanitized ? 'prebuilt-sanitized' : 'prebuilt',
    `${process.platform}-${process.arch}`,
    name,
  )

const stop = (message) => {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}
if (process.platform !== 'linux') stop('The kernels are built on Linux only; elsewhere bodies run.')
if (spawnSync(compiler, ['--version']).status !== 0)
  stop(`The compiler "${compiler}" does not run: install g++, or set CXX.`)

const objects = mkdtempSync(join(tmpdir(), 'attnc-build-'))
try {
  const compile = (source, name, flags) => {
    const object = join(objects, `${name}.o`)
    const file = join('kernels', source)
    const all = [...common, ...optimised, ...flags, `-ffile-prefix-map=${root}=.`]
    execFileSync(compiler, [...all, '-c', file, '-o', object], { cwd: root, stdio: 'inherit' })
    return object
  }
  const link = (name, files) => {
    const target = outputPath(name)
    mkdirSync(dirname(target), { recursive: true })
    const flags = isSanitized ? optimised : ['-s']
    // Under a new name first, so that a process that has the old one open keeps it.
    const all = ['-shared', '-Wl,--exclude-libs,ALL', ...flags, ...files, '-o', `${target}.new`]
    execFileSync(compiler, [...all, '-ldl'], { stdio: 'inherit' })
    renameSync(`${target}.new`, target)
    process.stdout.write(`${target}\n`)
  }
  const files = Object.entries(instructionSets).map(([name, flags]) =>
    compile('block-attention/cpu/attention.cpp', name, [
      ...kernel,
      ...flags,
      `-DATTNC_ENGINE=${name}`,
    ]),
  )
  files.push(compile('block-select/cpu/select.cpp', 'select', ['-Wno-psabi']))
  files.push(compile('stream-attention/cpu/stream.cpp', 'stream', ['-Wno-psabi']))
  for (const name of [
    'host',
    'block-layouts',
    'block-attention',
    'block-select',
    'stream-attention',
    'register',
  ])
    files.push(compile(`native/${name}.cpp`, name, []))
  link('libattnc_kernels.so', files)
  link(
    'attnc_session.node',
    ['runtime', 'session', 'device-memory', 'replay', 'crash', 'addon', 'older-libraries'].map(
      (name) =>
        compile(`../src/runtime/native/addon/${name}.cpp`, `session-${name}`, [
          '-DNAPI_VERSION=8',
          `-I${nodeApi.include_dir}`,
        ]),
    ),
  )
  const cuda = isSanitized ? undefined : findCudaCompiler()
  if (cuda) {
    const target = outputPath('libattnc_kernels_cuda.so')
    try {
      await buildCuda(cuda, root, objects, `${target}.new`)
      renameSync(`${target}.new`, target)
      process.stdout.write(`${target}\n`)
    } catch (error) {
      // The rest is built and works; only who named a compiler has asked for this part.
      process.stderr.write(
        `${cuda} failed, so there are no kernels for CUDA:\n${error.stderr ?? error.message}\n`,
      )
      if (process.env.NVCC) process.exitCode = 1
    }
  } else if (!isSanitized) {
    process.stdout.write('no nvcc (NVCC, PATH, /usr/local/cuda): without kernels for CUDA\n')
  }
} finally {
  rmSync(objects, { recursive: true, force: true })
}
