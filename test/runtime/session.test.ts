import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { importModel } from '../../src/graph/import.js'
import { type Log, silentLog } from '../../src/log.js'
import { encodeModel, toBytes } from '../../src/onnx/codec.js'
import type { ModelMessage } from '../../src/onnx/messages.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { runBatches } from '../../src/runtime/batches.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findAddon } from '../../src/runtime/native/library.js'
import { openNativeSession } from '../../src/runtime/native/session.js'
import { probeProvider } from '../../src/runtime/provider.js'
import { openSession } from '../../src/runtime/session.js'
import { openThreadSession } from '../../src/runtime/thread-session.js'
import { linearModel, node, tensorMessage, valueInfo } from '../onnx/messages.js'

// Temporary files of this process go where they can be counted.
const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
const temporary = join(folder, 'temporary')
mkdirSync(temporary)
process.env['TMPDIR'] = temporary
afterAll(() => rmSync(folder, { recursive: true }))

/** What attnc wrote there; ONNX Runtime and tsx keep files of their own. */
const leftovers = (): string[] => readdirSync(temporary).filter((name) => name.startsWith('attnc-'))

function save(name: string, message: ModelMessage): string {
  const path = join(folder, name)
  writeFileSync(path, toBytes(encodeModel(message)))
  return path
}

/** Products of 1024³ one after another: a run that lasts. */
function slowModel(products: number): ModelMessage {
  const model = linearModel()
  const names = Array.from({ length: products }, (_, i) => `y${i}`)
  return {
    ...model,
    graph: {
      name: 'slow',
      node: names.map((name, i) => node('MatMul', [i === 0 ? 'x' : `y${i - 1}`, 'x'], [name])),
      input: [valueInfo('x', 1024, 1024)],
      output: [valueInfo(`y${products - 1}`, 1024, 1024)],
    },
  }
}

const linear = save('linear.onnx', linearModel())
const x = tensorOf('float32', [2, 2], [1, 0, 0, 1])
const square = tensorOf('float32', [1024, 1024], new Float32Array(1024 * 1024))

const engines = [
  ['in a thread', openThreadSession],
  ...(findAddon() ? [['of the addon', openNativeSession] as const] : []),
] as const
if (engines.length === 1)
  process.stderr.write(
    'skipped: the session addon is not built; "npm run build:native" builds it\n',
  )

describe.each(engines)('a session %s', { timeout: 60_000 }, (_engine, openSession) => {
  test('gives what the graph says, and only what is asked for', async () => {
    await using session = await openSession({ path: linear, threads: 1 })
    const { y } = await session.run({ x })
    expect(y).toEqual(tensorOf('float32', [2, 3], [8, 10, 12, 11, 13, 15]))
    expect(session.inputs).toEqual([{ name: 'x', dataType: 'float32', dims: ['n', 2] }])
    expect(session.lastRunMs).toBeGreaterThan(0)
    expect(Object.keys(await session.run({ x }, ['y']))).toEqual(['y'])
  })

  test.each([
    ['INPUT_NAMES', {}, /The data has nothing; the model's inputs are "x"/],
    ['INPUT_NAMES', { x, z: x }, /The data has "x", "z"/],
    [
      'INPUT_SHAPE',
      { x: tensorOf('float32', [2, 5], []) },
      /float32 \[2,5\].*takes float32 \[n,2\]/,
    ],
    ['INPUT_SHAPE', { x: tensorOf('int64', [2, 2], [1, 2, 3, 4]) }, /is int64 \[2,2\]/],
  ])('refuses wrong feeds by name: %s', async (code, feeds, message) => {
    await using session = await openSession({ path: linear })
    await expect(session.run(feeds)).rejects.toThrow(message)
    await expect(session.run(feeds)).rejects.toMatchObject({ code })
  })

  test('that can not be opened says why', async () => {
    const broken = save('broken.onnx', {
      ...linearModel(),
      opset_import: [{ domain: '', version: 999n }],
    })
    await expect(openSession({ path: broken })).rejects.toMatchObject({ code: 'SESSION_REFUSED' })
    await expect(openSession({ path: join(folder, 'absent') })).rejects.toMatchObject({
      code: 'SESSION_REFUSED',
    })
  })

  test('aborted in the middle of a run rejects at once, and the process lives on', async () => {
    const controller = new AbortController()
    const path = save('slow.onnx', slowModel(12))
    const session = await openSession({ path, signal: controller.signal })
    let isOver = false
    const running = session.run({ x: square }).finally(() => {
      isOver = true
    })
    const reason = new DOMException('enough', 'AbortError')
    setTimeout(() => controller.abort(reason), 20)
    await expect(running).rejects.toBe(reason)
    expect(isOver).toBe(true)
    await session.close()
    await expect(session.run({ x: square })).rejects.toBe(reason)
    await expect(openSession({ path, signal: controller.signal })).rejects.toBe(reason)
  })

  test('runs one after the other what is asked at once', async () => {
    await using session = await openSession({ path: linear, threads: 1 })
    const feeds = [1, 2, 3, 4, 5, 6].map((each) => ({ x: tensorOf('float32', [1, 2], [each, 0]) }))
    const results = await Promise.all(feeds.map((each) => session.run(each)))
    expect(results.map(({ y }) => y?.data[0])).toEqual([8, 9, 10, 11, 12, 13])
  })
})

test('a process that ends inside of a run does so by its own code', {
  timeout: 60_000,
}, async () => {
  if (!findAddon()) return
  const path = save('long.onnx', slowModel(200))
  const script = join(folder, 'ends.mts')
  const [session, numbers] = ['runtime/native/session', 'onnx/numbers'].map(
    (name) => new URL(`../../src/${name}.ts`, import.meta.url).href,
  )
  writeFileSync(
    script,
    `import { openNativeSession } from ${JSON.stringify(session)}
    import { zeros } from ${JSON.stringify(numbers)}
    const session = await openNativeSession({ path: ${JSON.stringify(path)} })
    void session.run({ x: zeros('float32', [1024, 1024]) })
    setTimeout(() => process.exit(7), 20)`,
  )
  const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script], {
    encoding: 'utf8',
    cwd: new URL('../..', import.meta.url),
  })
  expect([status, stderr]).toEqual([7, ''])
})

describe('batches', { timeout: 60_000 }, () => {
  const model = (message = linearModel()) => importModel(message, {})

  test('are run in order, with progress, and leave no file', async () => {
    const seen: string[] = []
    const log: Log = {
      ...silentLog,
      progress: (step, now, all) => seen.push(`${step} ${now}/${all}`),
    }
    const batches = [1, 2, 3].map((each) => ({
      feeds: { x: tensorOf('float32', [1, 2], [each, 0]), ignored: x },
    }))
    const found: number[] = []
    await runBatches(model(), batches, { log }, 'working', async (results, _, index) => {
      found[index] = results['y']?.data[0] as number
    })
    expect(found).toEqual([8, 9, 10])
    expect(seen).toEqual(['working 1/3', 'working 2/3', 'working 3/3'])
    expect(leftovers()).toEqual([])
  })

  test('that are aborted or fail leave no file', async () => {
    const slow = model(slowModel(8))
    const controller = new AbortController()
    const batches = [1, 2, 3].map(() => ({ feeds: { x: square } }))
    const reason = new DOMException('enough', 'AbortError')
    setTimeout(() => controller.abort(reason), 50)
    const { signal } = controller
    const run = runBatches(slow, batches, { log: silentLog, signal }, undefined, () => {})
    await expect(run).rejects.toBe(reason)
    expect(leftovers()).toEqual([])
    const failing = runBatches(slow, batches, { log: silentLog }, undefined, () => {
      throw new RangeError('the caller fails')
    })
    await expect(failing).rejects.toThrow('the caller fails')
    expect(leftovers()).toEqual([])
  })
})

test('large weights go to a file of their own', async () => {
  const message = linearModel()
  const weights = Array.from({ length: 2 * 3000 }, (_, i) => i)
  const wide = {
    ...message,
    graph: {
      ...message.graph,
      node: [node('MatMul', ['x', 'w'], ['y'])],
      initializer: [tensorMessage('w', [2, 3000], weights)],
      output: [valueInfo('y', 'n', 3000)],
    },
  }
  const file = materialise(importModel(wide, {}))
  expect(readdirSync(join(file.path, '..')).sort()).toEqual(['model.onnx', 'weights.bin'])
  await using session = await openSession({ path: file.path })
  expect((await session.run({ x }))['y']?.data[2999]).toBe(2999)
  file.dispose()
  expect(leftovers()).toEqual([])
})

test('a folder for temporary files that is not there is named', () => {
  process.env['TMPDIR'] = join(folder, 'absent')
  try {
    expect(() => materialise(importModel(linearModel(), {}))).toThrow(
      expect.objectContaining({ code: 'TEMPORARY_UNWRITABLE' }),
    )
  } finally {
    process.env['TMPDIR'] = temporary
  }
})

test('a provider that is not there says why', { timeout: 60_000 }, async () => {
  expect(await probeProvider('cpu')).toEqual({ available: true })
  for (const name of ['cuda', 'webgpu'] as const) {
    const { available, reason } = await probeProvider(name)
    // On a machine that has the device there is nothing to say.
    if (!available) expect(reason?.length).toBeGreaterThan(10)
  }
})
