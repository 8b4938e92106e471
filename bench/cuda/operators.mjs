/**
 * Runs the models of operators.mts through ONNX Runtime's CUDA provider, by the kernels and by the
 * bodies, and holds both against the reference. Cases run in a process of their own, which is begun
 * again behind one that fails:
 * `node operators.mjs ADDON RUNTIME KERNELS FOLDER` (attnc_session.node, libonnxruntime.so.1,
 * libattnc_kernels_cuda.so); `--cpu` runs the bodies on the processor, to test this script.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const [addonPath, runtime, kernels, folder] = process.argv.slice(2, 6).map((path) => resolve(path))
const isCuda = !process.argv.includes('--cpu')
const arrays = { Float32Array, Uint16Array, Int32Array }

const halfToNumber = (bits) => {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction
}
const brainToNumber = (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]

const numbers = (type, buffer) => {
  if (type === 1) return new Float32Array(buffer)
  return Array.from(new Uint16Array(buffer), type === 10 ? halfToNumber : brainToNumber)
}
const bytes = ({ bytes: text }) => {
  const from = Buffer.from(text, 'base64')
  return from.buffer.slice(from.byteOffset, from.byteOffset + from.length)
}
const toNative = (each) => {
  const array = arrays[each.kind] ?? Uint16Array
  return { type: each.type, dims: each.dims, data: new array(bytes(each)) }
}

function largestDifference(a, b) {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let largest = 0
  for (let at = 0; at < a.length; at++)
    if (a[at] !== b[at]) {
      const difference = Math.abs(a[at] - b[at])
      largest = Math.max(largest, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
    }
  return largest
}

async function runCase(addon, each, library) {
  const opened = await addon.open(runtime, {
    model: join(folder, each.model),
    kernels: library,
    threads: 1,
    optimization: 99,
    cuda: isCuda,
    providerOptions: [],
    config: [],
    profile: '',
  })
  const { outputs } = await addon.run(
    opened.handle,
    each.feeds.map(([name, tensor]) => [name, toNative(tensor)]),
    opened.outputs.map(({ name }) => [name, false]),
  )
  addon.close(opened.handle)
  const differences = outputs.map(({ type, buffer }, at) =>
    largestDifference(numbers(type, buffer), numbers(type, bytes(each.expected[at]))),
  )
  return Math.max(...differences)
}

async function work(first) {
  const addon = createRequire(import.meta.url)(addonPath)
  const cases = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'))
  for (const [at, each] of cases.entries()) {
    if (at < first) continue
    process.stdout.write(`begins ${at} ${cases.length}\n`)
    const line = { case: each.title }
    try {
      line.kernel = await runCase(addon, each, kernels)
      line.body = await runCase(addon, each, '')
      line.passes = line.kernel < 2 * each.limit
    } catch (error) {
      line.passes = false
      line.error = String(error.message).slice(0, 300)
    }
    process.stdout.write(`${JSON.stringify(line)}\n`)
    if (line.error) process.exit(9)
  }
}

async function supervise() {
  let [next, count, passed, failed] = [0, 1, 0, 0]
  while (next < count) {
    const worker = spawn(
      process.execPath,
      [fileURLToPath(import.meta.url), ...process.argv.slice(2), `--from=${next}`],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    let isReported = true
    for await (const line of createInterface({ input: worker.stdout })) {
      if (line.startsWith('begins ')) {
        const [, at, all] = line.split(' ').map(Number)
        next = at + 1
        count = all
        isReported = false
        continue
      }
      process.stdout.write(`${line}\n`)
      isReported = true
      if (JSON.parse(line).passes) passed++
      else failed++
    }
    if (!isReported) {
      failed++
      process.stdout.write(`${JSON.stringify({ case: next - 1, passes: false, error: 'died' })}\n`)
    } else if (next === 0) break
  }
  process.stdout.write(`${JSON.stringify({ passed, failed })}\n`)
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0
}

const from = process.argv.find((each) => each.startsWith('--from='))
if (from) await work(Number(from.slice(7)))
else await supervise()
