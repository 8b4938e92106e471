/** Adapters of other tools, folded; and ours, as they read them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { openData } from '../../src/data/open-data.js'
import { writeSafetensors } from '../../src/data/safetensors.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { fromConstant, numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import type { Tensor } from '../../src/onnx/tensor.js'
import { foldAdapter } from '../../src/train/adapter/adapter.js'
import { adapterFiles, readAdapter } from '../../src/train/adapter/adapter-file.js'
import { train } from '../../src/train/train.js'
import { findWeights } from '../../src/train/weights/weights.js'
import { sharedModel } from '../shared-models.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-adapter-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const random = generator(9)
const draw = (...dims: number[]): RuntimeTensor =>
  tensorOf(
    'float32',
    dims,
    Array.from({ length: (dims[0] ?? 1) * (dims[1] ?? 1) }, () => random() - 0.5),
  )

function save(config: object, tensors: Readonly<Record<string, RuntimeTensor>>): string {
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config))
  writeFileSync(
    join(folder, 'adapter_model.safetensors'),
    writeSafetensors(new Map(Object.entries(tensors))),
  )
  return folder
}

const config = { peft_type: 'LORA', r: 2, lora_alpha: 6 }
const q = 'base_model.model.model.layers.1.self_attn.q_proj'
const numbers = (tensor: Tensor | RuntimeTensor | undefined): Float32Array =>
  Float32Array.from(
    numbersOf(
      (tensor && 'data' in tensor ? tensor : fromConstant(tensor as Tensor)) as RuntimeTensor,
    ),
  )

describe('an adapter', () => {
  it.each([
    ['alpha / rank', config, 3],
    ['alpha / √rank', { ...config, use_rslora: true }, 6 / Math.SQRT2],
    ['an alpha of its own', { ...config, alpha_pattern: { q_proj: 1 } }, 0.5],
  ])('lands on the module of its name, scaled by %s', async (_, stated, scale) => {
    const path = sharedModel('zoo/llama-ts')
    if (!path) return
    const { graph } = loadModel(path).model
    const weight = findWeights(graph).find(({ matrix }) =>
      matrix?.product?.name.includes('layers.1/self_attn/q_proj'),
    )
    const { inputs = 0, outputs = 0 } = weight?.matrix ?? {}
    const [a, b] = [draw(2, inputs), draw(outputs, 2)]
    save(stated, { [`${q}.lora_A.weight`]: a, [`${q}.lora_B.weight`]: b })
    const [folded, ...others] = await foldAdapter(graph, readAdapter(folder))
    expect(others).toEqual([])
    expect(folded?.name).toBe(weight?.name)
    const [before, after, down, up] = [weight?.tensor, folded?.tensor, a, b].map(numbers)
    for (let i = 0; i < inputs; i++)
      for (let o = 0; o < outputs; o++) {
        let update = 0
        for (let k = 0; k < 2; k++)
          update += (down?.[k * inputs + i] as number) * (up?.[o * 2 + k] as number)
        const at = i * outputs + o
        expect(after?.[at]).toBeCloseTo((before?.[at] as number) + scale * update, 5)
      }
  })

  it.each(['zoo/llama-gqa', 'zoo/gpt2-ts', 'zoo/bert-fused'])(
    'that was trained here on %s folds to what training folded',
    async (name) => {
      const path = sharedModel(name)
      if (!path) return
      const { model, folder: own } = loadModel(path)
      const { vocabulary } = readModel(model.graph)
      const batches = openData('random', {
        model,
        folder: own,
        vocabulary,
        sequenceLength: 8,
        samples: 8,
        batchSize: 2,
      })
      const found = await train(model, {
        batches,
        method: { kind: 'lora', rank: 2, alpha: 6, targets: ['attention', 'feedForward', 'norms'] },
        updates: 1,
        batchSize: 2,
        rate: 1e-3,
        warmup: 0,
        seed: 1,
        threads: 1,
        log: silentLog,
        teacher:
          name === 'zoo/bert-fused'
            ? { model: loadModel(path).model, share: 1, temperature: 1 }
            : undefined,
      })
      if (!found.adapter) throw new Error('no adapter')
      const files = adapterFiles(found.adapter, { rank: 2, alpha: 6, base: 'model' })
      for (const [file, content] of Object.entries(files))
        writeFileSync(join(folder, file), content)
      const folded = await foldAdapter(loadModel(path).model.graph, readAdapter(folder))
      expect(folded.map((each) => each.name).sort()).toEqual(
        found.weights.map((each) => each.name).sort(),
      )
      const wanted = new Map(found.weights.map((each) => [each.name, numbers(each.tensor)]))
      for (const each of folded)
        expect(
          Math.max(
            ...numbers(each.tensor).map((x, i) => Math.abs(x - (wanted.get(each.name)?.[i] ?? 0))),
          ),
        ).toBeLessThan(1e-6)
    },
    60_000,
  )

  it.each([
    ['of another kind', { peft_type: 'IA3' }, {}, 'ADAPTER_FORMAT'],
    ['with magnitudes', { ...config, use_dora: true }, {}, 'ADAPTER_FORMAT'],
    ['of nothing', config, {}, 'ADAPTER_FORMAT'],
    ['without its other half', config, { [`${q}.lora_A.weight`]: draw(2, 48) }, 'ADAPTER_FORMAT'],
    [
      'that does not multiply',
      config,
      { [`${q}.lora_A.weight`]: draw(2, 48), [`${q}.lora_B.weight`]: draw(48, 3) },
      'ADAPTER_FORMAT',
    ],
    [
      'of another shape',
      config,
      { [`${q}.lora_A.weight`]: draw(2, 47), [`${q}.lora_B.weight`]: draw(48, 2) },
      'ADAPTER_UNPLACED',
    ],
    [
      'of a layer that is not there',
      config,
      {
        [`${q.replace('1', '7')}.lora_A.weight`]: draw(2, 48),
        [`${q.replace('1', '7')}.lora_B.weight`]: draw(48, 2),
      },
      'ADAPTER_UNPLACED',
    ],
  ])('%s is refused', async (_, stated, tensors, code) => {
    const path = sharedModel('zoo/llama-ts')
    if (!path) return
    save(stated, tensors)
    const { graph } = loadModel(path).model
    await expect(async () => foldAdapter(graph, readAdapter(folder))).rejects.toMatchObject({
      code,
    })
  })
})
