/**
 * Damage to model files: of bytes (flips, cuts, splices), and of fields, through the codec, where it
 * gets past the reader: sizes, names, wiring, attributes, types.
 */
import { decodeModel, encodeModel, toBytes } from '../../src/onnx/codec.js'

/** Numbers from 0 to below 1. */
export type Random = () => number

const below = (random: Random, count: number): number => Math.floor(random() * count)
const pick = <Item>(random: Random, items: readonly Item[]): Item =>
  items[below(random, items.length)] as Item

export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  if (random() < 0.25) return mutateBytes(bytes, random)
  const message = structuredCloneOf(decodeModel(bytes))
  const strings = [...allStrings(message)]
  for (let count = 1 + below(random, 3); count > 0; count--)
    mutateField(message as Container, strings, random)
  return toBytes(encodeModel(message as object))
}

function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  const at = below(random, bytes.length)
  const length = below(random, Math.min(200, bytes.length - at))
  const part = bytes.subarray(at, at + length)
  const changed = Uint8Array.from(bytes)
  switch (below(random, 4)) {
    case 0:
      return bytes.subarray(0, at)
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
    case 2: {
      const to = below(random, bytes.length)
      return Buffer.concat([bytes.subarray(0, to), part, bytes.subarray(to)])
    }
    default:
      // Most bytes are weights: the structure is at the start and the end.
      for (let count = 1 + below(random, 4); count > 0; count--) {
        const place = random() < 0.5 ? random() ** 4 : 1 - random() ** 4
        changed[Math.floor(place * bytes.length)] = below(random, 256)
      }
      return changed
  }
}

type Container = Record<string, unknown> | unknown[]

/** One field somewhere, mostly of a node or an initializer. */
function mutateField(root: Container, strings: readonly string[], random: Random): void {
  const graph = (root as { graph?: Record<string, Container | undefined> }).graph
  const lists = ['node', 'node', 'node', 'initializer', 'input', 'output', 'value_info']
  let container = (random() < 0.9 ? graph?.[pick(random, lists)] : undefined) ?? root
  for (;;) {
    const keys = Object.keys(container)
    if (keys.length === 0) return
    const key = pick(random, keys)
    const value = (container as Record<string, unknown>)[key]
    const isContainer =
      typeof value === 'object' && value !== null && !(value instanceof Uint8Array)
    if (isContainer && random() < 0.9) {
      container = value as Container
      continue
    }
    mutateEntry(container, key, value, strings, random)
    return
  }
}

function mutateEntry(
  container: Container,
  key: string,
  value: unknown,
  strings: readonly string[],
  random: Random,
): void {
  const set = (changed: unknown): void => {
    ;(container as Record<string, unknown>)[key] = changed
  }
  if (Array.isArray(container) ? random() < 0.3 : random() < 0.1) rearrange(container, key, random)
  else if (typeof value === 'bigint') {
    set(
      pick(random, [
        0n,
        1n,
        -1n,
        2n,
        3n,
        value + 1n,
        value - 1n,
        value * 2n,
        100_000n,
        2n ** 31n,
        2n ** 40n,
        2n ** 53n,
        2n ** 63n - 1n,
        -(2n ** 63n),
      ]),
    )
  } else if (typeof value === 'number') {
    set(pick(random, [0, 1, -1, 2, 7, 16, 27, value + 1, 2 ** 31 - 1, -(2 ** 31), Number.NaN]))
  } else if (typeof value === 'string') {
    set(pick(random, ['', 'a', `${value}\0`, '../x', pick(random, strings), pick(random, strings)]))
  } else if (value instanceof Uint8Array) {
    const bytes = Uint8Array.from(value)
    if (bytes.length > 0 && random() < 0.6) bytes[below(random, bytes.length)] = below(random, 256)
    set(random() < 0.5 ? bytes : bytes.subarray(0, below(random, bytes.length + 1)))
  } else set(Array.isArray(value) ? [] : {})
}

/** Takes an entry away, doubles it or lets two change places. */
function rearrange(container: Container, key: string, random: Random): void {
  if (!Array.isArray(container)) {
    delete container[key]
    return
  }
  const from = Number(key)
  const to = below(random, container.length)
  const value: unknown = container[from]
  const verb = random()
  if (verb < 0.4) container.splice(from, 1)
  else if (verb < 0.7) container.splice(to, 0, structuredCloneOf(value))
  else [container[from], container[to]] = [container[to], value]
}

/** A copy that may be changed; bytes are shared. */
function structuredCloneOf<Item>(item: Item): Item {
  if (Array.isArray(item)) return item.map(structuredCloneOf) as Item
  if (typeof item !== 'object' || item === null || item instanceof Uint8Array) return item
  return Object.fromEntries(
    Object.entries(item).map(([key, value]) => [key, structuredCloneOf(value)]),
  ) as Item
}

function* allStrings(item: unknown): IterableIterator<string> {
  if (typeof item === 'string') yield item
  if (typeof item === 'object' && item !== null && !(item instanceof Uint8Array))
    for (const value of Object.values(item)) yield* allStrings(value)
}
