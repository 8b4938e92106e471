import { describe, expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { Model } from '../../src/graph/graph.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findAddon } from '../../src/runtime/native/library.js'
import { openNativeSession } from '../../src/runtime/native/session.js'

const isBuilt = findAddon() !== undefined
if (!isBuilt)
  process.stderr.write(
    'skipped: the session addon is not built; "npm run build:native" builds it\n',
  )

/** next = past + step: a cache of one tensor. */
function counter(size: number | string): Model {
  const model = new Model()
  model.opsets.set('', 17)
  edit(model.graph, 'next', (change) => {
    const step = change.addInput('step', 'float32', [size])
    const past = change.addInput('past', 'float32', [size])
    for (const name of ['next', 'seen']) {
      const sum = change.add('Add', [step, past], { output: name })
      change.setType(sum, { dataType: 'float32', dims: [size] })
      change.expose(sum)
    }
  })
  return model
}

async function withSession(
  use: (session: Awaited<ReturnType<typeof openNativeSession>>) => Promise<void>,
  { size = 'n', replays = false }: { size?: number | string; replays?: boolean } = {},
): Promise<void> {
  const file = materialise(counter(size))
  try {
    await using session = await openNativeSession({ path: file.path, threads: 1, replays })
    await use(session)
  } finally {
    file.dispose()
  }
}

const floats = (...values: number[]) => tensorOf('float32', [values.length], values)

describe.runIf(isBuilt)('a session of the addon', () => {
  it('describes inputs and outputs, and runs them', () =>
    withSession(async (session) => {
      expect(session.inputs).toEqual([
        { name: 'step', dataType: 'float32', dims: ['n'] },
        { name: 'past', dataType: 'float32', dims: ['n'] },
      ])
      const results = await session.run({ step: floats(1, 2), past: floats(3, 4) }, ['seen'])
      expect(results).toEqual({ seen: floats(4, 6) })
    }))

  // Where tensors stay where they are, and where that was asked for but a size is open.
  const ways = [
    ['from handle to handle', {}, false],
    ['over fixed tensors', { size: 2, replays: true }, true],
    ['as ever where a size is open', { replays: true }, false],
  ] as const
  it.each(ways)('carries outputs into the next run without handing them out, %s', (_, how, stays) =>
    withSession(async (session) => {
      const carry = { next: 'past' }
      const first = await session.step({ step: floats(1, 1), past: floats(0, 5) }, carry)
      expect(first).toEqual({ seen: floats(1, 6) })
      await session.step({ step: floats(1, 1) }, carry)
      const third = await session.step({ step: floats(10, 0) }, carry)
      expect(third).toEqual({ seen: floats(12, 7) })
      expect(session.isReplaying).toBe(stays)
    }, how),
  )

  it.each(ways)('hands out what it carries where that is asked for, and goes on, %s', (_, how) =>
    withSession(async (session) => {
      const carry = { next: 'past' }
      const first = await session.step({ step: floats(1, 1), past: floats(0, 5) }, carry, ['next'])
      expect(first).toEqual({ seen: floats(1, 6), next: floats(1, 6) })
      expect(await session.step({ step: floats(1, 1) }, carry)).toEqual({ seen: floats(2, 7) })
      const again = await session.step({ step: floats(1, 1), past: floats(4, 4) }, carry)
      expect(again).toEqual({ seen: floats(5, 5) })
    }, how),
  )

  it('refuses a feed that a replayed step was never given, and other sizes', () =>
    withSession(
      async (session) => {
        const carry = { next: 'past' }
        await expect(session.step({ step: floats(1, 1) }, carry)).rejects.toThrow(/past/)
        await session.step({ step: floats(1, 1), past: floats(0, 5) }, carry)
        await expect(session.step({ step: floats(1) }, carry)).rejects.toThrow(/step/)
        expect(await session.step({ step: floats(1, 1) }, carry)).toEqual({ seen: floats(2, 7) })
      },
      { size: 2, replays: true },
    ))

  it('writes an output where the input lies that it becomes, zeros at first', async () => {
    const file = materialise(counter(2))
    try {
      const inPlace = { next: 'past' }
      const ways = { path: file.path, threads: 1, replays: true, inPlace }
      await using session = await openNativeSession(ways)
      // What reads the past beside it may come before or after.
      for (const sum of [1, 2, 3]) {
        const { next } = await session.step({ step: floats(1, 1) }, inPlace, ['next'])
        expect(next).toEqual(floats(sum, sum))
      }
      expect(session.isReplaying).toBe(true)
    } finally {
      file.dispose()
    }
  })

  it('refuses wrong feeds by name', () =>
    withSession(async (session) => {
      await expect(session.run({ step: floats(1) })).rejects.toThrow(/inputs are "step", "past"/)
    }))

  it('says what ONNX Runtime said when a run fails', () =>
    withSession(async (session) => {
      const run = session.run({ step: floats(1, 2, 3), past: floats(1, 2) })
      await expect(run).rejects.toMatchObject({ code: 'RUN_FAILED' })
    }))

  it('gives up opening when it is aborted, without waiting for it', async () => {
    const file = materialise(counter('n'))
    try {
      const controller = new AbortController()
      const opening = openNativeSession({ path: file.path, signal: controller.signal })
      const reason = new Error('enough')
      controller.abort(reason)
      await expect(opening).rejects.toBe(reason)
    } finally {
      file.dispose()
    }
  })

  it('refuses a file that is no model', async () => {
    await expect(openNativeSession({ path: '/nowhere/model.onnx' })).rejects.toMatchObject({
      code: 'SESSION_REFUSED',
    })
  })
})
