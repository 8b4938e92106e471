/**
 * A small decoder that holds both of its ways in one If, as merged exports do: without a cache, and going on from
 * keys and values. With an encoder the second way is fed the keys of that too, and hands on empty ones.
 */
import type { Model, Value } from '../../src/graph/graph.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { type Builder, build } from '../axes/builder.js'
import type { Feeds } from '../zoo/compare.js'

export interface MergedOptions {
  readonly layers?: number
  readonly heads?: number
  readonly size?: number
  readonly width?: number
  /** Weights stand once around the If, or in each branch with the same numbers. */
  readonly weights?: 'shared' | 'in both'
  /** Which branch goes on from a cache. */
  readonly cacheIn?: 'then' | 'else'
  readonly hasEncoder?: boolean
  /** What chooses: an input, its opposite, or whether the first cache holds tokens. */
  readonly chosenBy?: 'input' | 'opposite' | 'length'
}

export const VOCABULARY = 11
export const ENCODED = 6

type Sizes = Required<MergedOptions>

const withDefaults = (options: MergedOptions): Sizes => ({
  layers: 2,
  heads: 3,
  size: 4,
  width: 10,
  weights: 'shared',
  cacheIn: 'then',
  hasEncoder: false,
  chosenBy: 'input',
  ...options,
})

/** Matrices and vectors by what they are for: drawn anew or taken as they are. */
type Weights = (name: string, ...dims: number[]) => Value

/** Numbers that depend on the name alone, so that both branches have the same. */
function weightsIn(b: Builder): Weights {
  const known = new Map<string, Value>()
  return (name, ...dims) => {
    const seed = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 9973, 7)
    const count = dims.reduce((product, dim) => product * dim, 1)
    const numbers = Array.from(
      { length: count },
      (_, i) => Math.sin(seed + 1.7 * i + i * i * 0.3) / 2,
    )
    const value = known.get(name) ?? b.numbers(numbers, ...dims)
    known.set(name, value)
    return value
  }
}

export function mergedDecoder(options: MergedOptions = {}): Model {
  const sizes = withDefaults(options)
  const { layers, heads, size, weights, cacheIn, hasEncoder } = sizes
  return build((b) => {
    const ids = b.input('input_ids', ['batch', 'sequence'], 'int64')
    const encoded = hasEncoder
      ? b.input('encoder_hidden_states', ['batch', 'encoded', ENCODED])
      : undefined
    const parts = ['key', 'value']
    const kinds = hasEncoder ? ['decoder', 'encoder'] : ['decoder']
    const pasts = Array.from({ length: layers }, (_, layer) =>
      Object.fromEntries(
        kinds.flatMap((kind) =>
          parts.map((part) => [
            `${kind}.${part}`,
            b.input(`past.${layer}.${kind}.${part}`, [
              'batch',
              heads,
              kind === 'encoder' ? 'encoded' : 'past',
              size,
            ]),
          ]),
        ),
      ),
    )
    const choice = conditionOf(b, sizes, pasts[0]?.['decoder.key'] as Value)
    const around = weightsIn(b)
    const way = (cached: boolean) => (inner: Builder) =>
      decode(inner, sizes, weights === 'shared' ? around : weightsIn(inner), {
        ids,
        encoded,
        pasts: cached ? pasts : undefined,
      })
    const outputs = b.branches(choice, way(cacheIn === 'then'), way(cacheIn !== 'then'))
    const [logits, ...presents] = outputs
    if (logits) {
      b.declare(logits, ['batch', 'sequence', VOCABULARY])
      b.expose(logits)
    }
    for (const present of presents) {
      b.declare(present, ['batch', heads, undefined, size])
      b.expose(present)
    }
    return logits as Value
  })
}

function conditionOf(b: Builder, { chosenBy, cacheIn }: Sizes, key: Value): Value {
  if (chosenBy === 'length') {
    const held = b.pick(b.op('Shape', [key]), 0, 2)
    const isFilled = b.op('Greater', [held, b.whole(0)])
    return cacheIn === 'then' ? isFilled : b.op('Not', [isFilled])
  }
  const choice = b.input('use_cache_branch', [1], 'bool')
  return chosenBy === 'input' ? choice : b.op('Not', [choice])
}

interface Fed {
  readonly ids: Value
  readonly encoded: Value | undefined
  readonly pasts: readonly Readonly<Record<string, Value>>[] | undefined
}

function decode(b: Builder, sizes: Sizes, weight: Weights, { ids, encoded, pasts }: Fed) {
  const { layers, heads, size, width } = sizes
  const columns = heads * size
  const linear = (x: Value, name: string, from: number, to: number): Value =>
    b.op('Add', [b.op('MatMul', [x, weight(`${name}.w`, from, to)]), weight(`${name}.b`, to)])
  const toHeads = (x: Value): Value => b.transpose(b.reshape(x, 0, 0, heads, size), 0, 2, 1, 3)
  const project = (x: Value, name: string, from = columns): Value =>
    toHeads(linear(x, name, from, columns))
  const attend = (query: Value, key: Value, value: Value, mask?: Value): Value => {
    const product = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    const scores = b.op('Mul', [product, b.scalar(size ** -0.5)])
    const seen = mask ? b.op('Where', [mask, scores, b.scalar(-1e4)]) : scores
    const context = b.op('MatMul', [b.op('Softmax', [seen], { axis: -1 }), value])
    return b.reshape(b.transpose(context, 0, 2, 1, 3), 0, 0, columns)
  }
  const results: Record<string, Value> = {}
  let x = b.op('Gather', [weight('table', VOCABULARY, columns), ids], { axis: 0 })
  for (let layer = 0; layer < layers; layer++) {
    const past = pasts?.[layer]
    const query = project(x, `${layer}.q`)
    const [key, value] = ['key', 'value'].map((part) => {
      const now = project(x, `${layer}.${part}`)
      const before = past?.[`decoder.${part}`]
      const all = before ? b.op('Concat', [before, now], { axis: 2 }) : now
      results[`present.${layer}.decoder.${part}`] = all
      return all
    }) as [Value, Value]
    const context = attend(query, key, value, causalMask(b, ids, key))
    x = b.op('Add', [x, linear(context, `${layer}.o`, columns, columns)])
    if (encoded) {
      const [keys, values] = ['key', 'value'].map((part) => {
        const before = past?.[`encoder.${part}`]
        const own = before ?? project(encoded, `${layer}.cross.${part}`, ENCODED)
        // What the host has already is not said again.
        results[`present.${layer}.encoder.${part}`] = before
          ? b.op('Identity', [b.numbers([], 0, heads, 1, size)])
          : own
        return own
      }) as [Value, Value]
      const read = attend(project(x, `${layer}.cross.q`), keys, values)
      x = b.op('Add', [x, linear(read, `${layer}.cross.o`, columns, columns)])
    }
    const hidden = b.op('Relu', [linear(x, `${layer}.up`, columns, width)])
    x = b.op('Add', [x, linear(hidden, `${layer}.down`, width, columns)])
  }
  return { logits: b.op('MatMul', [x, weight('head', columns, VOCABULARY)]), ...results }
}

/** Keys up to each query's own: [sequence, keys]. */
function causalMask(b: Builder, ids: Value, key: Value): Value {
  const [sequence, all] = [b.pick(b.op('Shape', [ids]), 0, 1), b.pick(b.op('Shape', [key]), 0, 2)]
  const range = (from: Value, to: Value): Value => b.op('Range', [from, to, b.whole(1)])
  const rows = range(b.op('Sub', [all, sequence]), all)
  const at = b.op('Unsqueeze', [rows, b.integers(1)])
  return b.op('LessOrEqual', [range(b.whole(0), all), at])
}

/** Inputs of either way, with so many tokens in the cache. */
export function mergedFeeds(options: MergedOptions, past: number, tokens = 3): Feeds {
  const { layers, heads, size, cacheIn, hasEncoder, chosenBy } = withDefaults(options)
  const isThen = past > 0 === (cacheIn === 'then')
  const wave = (dims: readonly number[], from: number) =>
    tensorOf(
      'float32',
      dims,
      Array.from({ length: dims.reduce((a, c) => a * c, 1) }, (_, i) => Math.sin(from + i * i)),
    )
  const ids = Array.from({ length: 2 * tokens }, (_, i) => (i * 7 + 3) % VOCABULARY)
  const caches = Array.from({ length: layers }, (_, layer) =>
    ['key', 'value'].flatMap((part, index) => [
      [`past.${layer}.decoder.${part}`, wave([2, heads, past, size], layer + index)] as const,
      ...(hasEncoder
        ? [
            [
              `past.${layer}.encoder.${part}`,
              wave([2, heads, past > 0 ? 4 : 0, size], 9 + layer + index),
            ] as const,
          ]
        : []),
    ]),
  ).flat()
  return {
    input_ids: tensorOf('int64', [2, tokens], ids),
    ...(hasEncoder && { encoder_hidden_states: wave([2, 4, ENCODED], 5) }),
    ...Object.fromEntries(caches),
    ...(chosenBy !== 'length' && {
      use_cache_branch: tensorOf('bool', [1], [Number(isThen === (chosenBy === 'input'))]),
    }),
  }
}
