/**
 * What ONNX Runtime says when it doesn't open a model, as an error that names the node, what it has
 * and what was expected.
 */
import { AttncError } from '../errors.js'
import { isMaterialised } from './materialise.js'
import type { ProviderName } from './provider.js'
import type { SessionOptions } from './session.js'

export function explainRefusal(
  error: unknown,
  options: SessionOptions,
  provider: ProviderName,
): unknown {
  if (options.signal?.aborted || error instanceof AttncError) return error
  const text = error instanceof Error ? error.message : String(error)
  // Under the name of a temporary file nobody knows the model.
  const model = isMaterialised(options.path) ? 'the model' : `"${options.path}"`
  if (provider !== 'cpu' && /provider|library|CUDA|WebGPU/i.test(text))
    return new AttncError(
      'PROVIDER_FAILED',
      'runtime',
      `The provider "${provider}" can't run ${model}: ${text}`,
      { cause: error, suggestions: ['Run "attnc doctor", or use --provider cpu.'] },
    )
  return new AttncError(
    'SESSION_REFUSED',
    'model',
    `ONNX Runtime can't load ${model}: ${reasonOf(text)}`,
    {
      cause: error,
      suggestions: [
        'The file is damaged or was changed by hand: export the model again. "attnc inspect" says what it is made of.',
      ],
    },
  )
}

type Wording = readonly [RegExp, (...parts: string[]) => string]

const nodeAt = (name = '', op = ''): string => `node "${name}" (${op})`

/** `tensor(float)` → `float`. */
const plainTypes = (text: string): string => text.replace(/tensor\((\w+)\)/g, '$1')

function sizesOf(least: string, most: string): string {
  if (least === most) return least
  return Number(most) > 1000 ? `${least} or more` : `${least} to ${most}`
}

/** Its words, and what they mean, most telling first. Nodes are counted from 0 as in the file. */
const wordings: readonly Wording[] = [
  [
    /Error Node ?\((.*)\) with schema\(.*?::(\w+):(\d+)\) has (input|output) size (\d+) not in range \[min=(\d+), max=(\d+)\]/,
    (name, op, version, side, found, least, most) =>
      `${nodeAt(name, op)} has ${found} ${side}s, and ${sizesOf(least as string, most as string)} were expected (version ${version} of the operator).`,
  ],
  [
    /In Node, \(".*?", (\w+), .*Error Node ?\((.*)\)'s (input|output) (\d+) is marked single but has an empty string/,
    (op, name, side, index) =>
      `${nodeAt(name, op)} leaves its ${side} ${index} empty, which has to be there (the first is 0).`,
  ],
  [
    /In Node, \("(.*?)", (\w+), .* , Error (.*)/s,
    (name, op, said) => `${nodeAt(name, op)}: ${said}`,
  ],
  [
    /Node \((.*?)\) Op \((\w+)\) \[\w+Error\] (.*)/s,
    (name, op, said) => `${nodeAt(name, op)}: ${said}`,
  ],
  [
    /Type '(.*?)' of input parameter \((.*?)\) of operator \((\w+)\) in node \((.*?)\) is invalid/,
    (type, input, op, name) =>
      `${nodeAt(name, op)} reads "${input}", whose type is ${plainTypes(type as string)}; the operator expects another.`,
  ],
  [
    /of Optype \((\w+)\) bound to different types \((\S+) and (tensor\(\w+\))\)? in node \((.*?)\)/,
    (op, one, other, name) =>
      `${nodeAt(name, op)} reads inputs of the types ${plainTypes(one as string)} and ${plainTypes(other as string)}, where one type was expected.`,
  ],
]

/** Its own wrapping: `[ONNXRuntimeError] : 1 : FAIL : `, the path, places in its sources and functions there. */
const wrapping =
  /\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S+ failed: ?|This is an invalid model\. |^\S+\.(cc|h):\d+ .*?\) (?=[A-Z])/g

function reasonOf(text: string): string {
  for (const [pattern, say] of wordings) {
    const found = pattern.exec(text)
    if (found) return ending(say(...found.slice(1)))
  }
  return text.replace(wrapping, '').trim()
}

const ending = (sentence: string): string => {
  const trimmed = sentence.trim()
  return trimmed.endsWith('.') ? trimmed : `${trimmed}.`
}
