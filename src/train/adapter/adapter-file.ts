/**
 * Low-rank adapters as PEFT keeps them: a folder with `adapter_config.json` and
 * `adapter_model.safetensors`, tensors named after the modules of the model they were trained beside.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readSafetensors, writeSafetensors } from '../../data/safetensors.js'
import { AttncError } from '../../errors.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../onnx/numbers.js'

/** W += scale · (B·A), of a weight [outputs, inputs] as PyTorch keeps it. */
export interface AdapterPair {
  /** `model.layers.0.self_attn.q_proj` */
  readonly module: string
  readonly inputs: number
  readonly outputs: number
  /** A [rank, inputs] and B [outputs, rank]. */
  readonly a: Float32Array
  readonly b: Float32Array
  readonly scale: number
}

export interface Adapter {
  readonly pairs: readonly AdapterPair[]
  /** Weights that were trained themselves (`modules_to_save`), by the module's name. */
  readonly whole: ReadonlyMap<string, RuntimeTensor>
}

interface Config {
  readonly peft_type?: string
  readonly lora_alpha?: number
  readonly alpha_pattern?: Readonly<Record<string, number>>
  readonly use_rslora?: boolean
  readonly use_dora?: boolean
}

const prefix = 'base_model.model.'
const weights = 'adapter_model.safetensors'

/** Errors: ADAPTER_MISSING, ADAPTER_FORMAT, those of the file. */
export function readAdapter(folder: string): Adapter {
  const config = readConfig(join(folder, 'adapter_config.json'))
  const path = join(folder, weights)
  if (!existsSync(path))
    throw new AttncError('ADAPTER_MISSING', 'usage', `There is no ${weights} in "${folder}".`, {
      suggestions: [
        'Save the adapter with PEFT’s save_pretrained; .bin files are never unpickled.',
      ],
    })
  const tensors = readSafetensors(path)
  const pairs: AdapterPair[] = []
  const whole = new Map<string, RuntimeTensor>()
  for (const [name, tensor] of tensors) {
    const key = name.startsWith(prefix) ? name.slice(prefix.length) : name
    const [, module, kind] =
      /^(.+)\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B)(?:\.weight)?$/.exec(key) ?? []
    if (module === undefined) {
      if (!/\.weight$/.test(key) || /lora_/.test(key))
        throw formatError(path, `"${name}" is neither lora_A, lora_B nor a weight`)
      whole.set(key.replace(/\.weight$/, ''), tensor)
    } else if (kind?.endsWith('A'))
      pairs.push(readPair(path, name, tensor, tensors, module, config))
    else if (!tensors.has(name.replace('_B', '_A')))
      throw formatError(path, `"${name}" has no lora_A beside it`)
  }
  if (pairs.length + whole.size === 0) throw formatError(path, 'it holds no adapter')
  return { pairs, whole }
}

function readPair(
  path: string,
  name: string,
  a: RuntimeTensor,
  tensors: ReadonlyMap<string, RuntimeTensor>,
  module: string,
  config: Config,
): AdapterPair {
  const b = tensors.get(name.replace('_A', '_B'))
  const [rank = 0, inputs = 0] = a.dims
  const [outputs = 0, other] = b?.dims ?? []
  if (!b || a.dims.length !== 2 || b.dims.length !== 2 || rank !== other || rank === 0)
    throw formatError(path, `"${name}" [${a.dims}] and its B [${b?.dims ?? 'none'}] don't multiply`)
  const alpha = alphaOf(module, config)
  const scale = alpha / (config.use_rslora ? Math.sqrt(rank) : rank)
  const numbers = (tensor: RuntimeTensor): Float32Array => Float32Array.from(numbersOf(tensor))
  // Of a table that is looked up, rows are inputs: A is [rank, rows] as well.
  return { module, inputs, outputs, a: numbers(a), b: numbers(b), scale }
}

/** Patterns name the end of a module's path. */
function alphaOf(
  module: string,
  { lora_alpha: alpha = 8, alpha_pattern: patterns }: Config,
): number {
  const found = Object.entries(patterns ?? {}).find(
    ([pattern]) => module === pattern || module.endsWith(`.${pattern}`),
  )
  return found?.[1] ?? alpha
}

function readConfig(path: string): Config {
  if (!existsSync(path))
    throw new AttncError('ADAPTER_MISSING', 'usage', `There is no adapter at "${path}".`, {
      suggestions: ['Name the folder that holds adapter_config.json.'],
    })
  let config: Config | null
  try {
    config = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw formatError(path, (cause as Error).message, cause)
  }
  if (config?.peft_type !== 'LORA')
    throw formatError(path, `its peft_type is ${JSON.stringify(config?.peft_type)}; LORA is read`)
  if (config.use_dora) throw formatError(path, 'it is a DoRA, whose magnitudes are not supported')
  if (config.lora_alpha !== undefined && !Number.isFinite(config.lora_alpha))
    throw formatError(path, `its lora_alpha is ${JSON.stringify(config.lora_alpha)}`)
  return config
}

const formatError = (path: string, text: string, cause?: unknown): AttncError =>
  new AttncError('ADAPTER_FORMAT', 'usage', `"${path}" can't be used: ${text}.`, {
    cause,
    suggestions: ['Merge it with PEFT first, or train a plain LoRA.'],
  })

/** The two files of an adapter, by name. All pairs have one rank and one scale. */
export function adapterFiles(
  { pairs, whole }: Adapter,
  { rank, alpha, base }: { readonly rank: number; readonly alpha: number; readonly base: string },
): Record<string, string | Uint8Array> {
  const tensors = new Map<string, RuntimeTensor>()
  for (const { module, inputs, outputs, a, b } of pairs) {
    tensors.set(`${prefix}${module}.lora_A.weight`, tensorOf('float32', [rank, inputs], a))
    tensors.set(`${prefix}${module}.lora_B.weight`, tensorOf('float32', [outputs, rank], b))
  }
  for (const [module, tensor] of whole) tensors.set(`${prefix}${module}.weight`, tensor)
  const config = {
    peft_type: 'LORA',
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    target_modules: [...new Set(pairs.map(({ module }) => module))],
    ...(whole.size > 0 ? { modules_to_save: [...whole.keys()] } : {}),
  }
  return {
    'adapter_config.json': `${JSON.stringify(config, null, 2)}\n`,
    [weights]: writeSafetensors(tensors, { format: 'pt' }),
  }
}
