/** A folder that keeps its promises passes; one that was tampered with is found out, by name. */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { silentLog } from '../../src/log.js'
import { loadFrom, loadModel } from '../../src/model-folder/load.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../../src/onnx/numbers.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { verify } from '../../src/verify/verify.js'
import { sharedModel } from '../shared-models.js'

const stories = sharedModel('tiny-stories')

describe.skipIf(!stories)('a pruned folder', () => {
  let root = ''
  let out = ''
  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'attnc-verify-'))
    const slices = [0, 1, 2, 3].map((layer) => ({
      dimension: `layer.${layer}.keyValueHeads`,
      remove: [layer % 3],
    }))
    await applyToFolder({
      source: loadModel(stories as string),
      plan: { parts: [{ slices }] },
      output: join(root, 'made'),
      single: false,
      log: silentLog,
    })
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))
  beforeEach(() => {
    out = join(root, 'out')
    cpSync(join(root, 'made'), out, { recursive: true })
  })
  afterEach(() => rmSync(out, { recursive: true, force: true }))

  const look = (against: string | undefined = stories) =>
    verify({ path: out, against, log: silentLog, threads: 1 })
  /** The smaller of its two models: what is wrong with the folder shows there too. */
  const lookAtOne = (against: string | undefined = stories) =>
    verify({ path: join(out, 'model.onnx'), single: true, against, log: silentLog, threads: 1 })

  const edited = (name: string, change: (config: Record<string, unknown>) => void): void => {
    const path = join(out, name)
    const config = JSON.parse(readFileSync(path, 'utf8'))
    change(config)
    writeFileSync(path, JSON.stringify(config))
  }

  test('passes every check beside its original', async () => {
    const list = await look()
    const { passed, checks } = list.report()
    expect(checks.filter(({ result }) => result !== 'passed')).toEqual([])
    expect(passed).toBe(true)
    expect(new Set(checks.map(({ file }) => file))).toEqual(
      new Set(['model.onnx', 'model_with_past.onnx']),
    )
    expect(checks.map(({ check }) => check)).toContain('replay')
    list.assertPassed()
  })

  const tampered: [string, string, number, () => void | Promise<void>][] = [
    [
      'a config of other heads',
      'configs',
      3,
      () =>
        edited('config.json', (c) => {
          c['num_key_value_heads'] = 3
        }),
    ],
    ['a config that is no JSON', 'configs', 3, () => writeFileSync(join(out, 'config.json'), '{')],
    [
      'a tokenizer of more tokens',
      'tokenizer',
      3,
      () =>
        edited('tokenizer.json', (t) => {
          t['added_tokens'] = [{ id: 9999, content: '<x>' }]
        }),
    ],
    ['a model cut short', 'reads', 3, () => truncateSync(join(out, 'model.onnx'), 5000)],
    [
      'another plan beside it',
      'replay',
      4,
      () =>
        edited('plan.json', (plan) => {
          plan['slices'] = []
        }),
    ],
    ['weights that were changed', 'replay', 4, () => change((value) => value * 1.5)],
    ['weights that are NaN', 'runs', 4, () => change(() => Number.NaN)],
  ]

  test.each(tampered)('%s fails the check "%s", exit %d', async (_, check, exit, tamper) => {
    await tamper()
    const list = await lookAtOne()
    const failed = list.report().checks.filter(({ result }) => result === 'failed')
    expect(failed.map((each) => each.check)).toContain(check)
    expect(() => list.assertPassed()).toThrow(
      expect.objectContaining({
        code: 'VERIFY_FAILED',
        oclif: { exit },
        report: expect.objectContaining({ passed: false }),
      }),
    )
  })

  test('another original is found out', async () => {
    const path = sharedModel('zoo/llama-ts')
    if (!path) return
    const failed = (await lookAtOne(path))
      .report()
      .checks.filter(({ result }) => result === 'failed')
    expect(failed.map(({ check }) => check)).toContain('replay')
    const replay = failed.find(({ check }) => check === 'replay')
    expect(replay?.detail).toMatch(
      /made from another model .* digest \w{12}…, and this has \w{12}…/,
    )
  })

  test('an original that was stored anew passes, and its digest is spoken of', async () => {
    const { model } = loadModel(join(stories as string, 'model.onnx'))
    model.metadata.set('note', 'stored anew')
    const anew = join(root, 'anew')
    await saveModelFolder({ models: { 'model.onnx': model }, to: anew, force: true })
    const { checks } = (await lookAtOne(anew)).report()
    expect(checks.find(({ check }) => check === 'replay')).toMatchObject({
      result: 'passed',
      detail: expect.stringContaining("though the original's digest is another"),
    })
  })

  /** Writes the folder anew with the numbers of its largest weight changed. */
  async function change(to: (value: number) => number): Promise<void> {
    const source = loadModel(out)
    const models = Object.fromEntries(
      source.location.models.map((file) => {
        const { model } = loadFrom(source.location, file)
        edit(model.graph, 'test', (graph) => {
          const weights = [...model.graph.initializers()].filter(
            (each) => each.constant?.dims.length === 2,
          )
          for (const each of weights) {
            const tensor = each.constant && fromConstant(each.constant)
            if (tensor?.dataType !== 'float32') continue
            const numbers = Array.from(numbersOf(tensor), to)
            graph.setConstant(each, toConstant(tensorOf('float32', tensor.dims, numbers)))
          }
        })
        return [file, model]
      }),
    )
    const changed = join(root, 'changed')
    await saveModelFolder({ models, from: source.location, to: changed, force: true })
    cpSync(join(out, 'plan.json'), join(changed, 'plan.json'))
    rmSync(out, { recursive: true })
    cpSync(changed, out, { recursive: true })
  }
})

test.each(['zoo/vit-ts', 'zoo/bert-qdq', 'zoo/llama-gqa'])(
  '%s, which attnc never touched, passes what there is to check',
  async (name) => {
    const path = sharedModel(name)
    if (!path) return
    const list = await verify({ path, log: silentLog, threads: 1 })
    expect(list.report().passed).toBe(true)
  },
)
