/** The direction of imports (ARCHITECTURE.md), read from the sources. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '..')

interface Import {
  readonly from: string
  /** A file of the project, relative to its root, or the name of a package. */
  readonly to: string
  readonly isType: boolean
  readonly isLazy: boolean
}

const files = ['src', 'passes', 'commands', 'kernels', 'bin'].flatMap(sourcesBelow)
const imports = files.flatMap(importsOf)

/** Folders of src from the ground up: a folder knows those before it, and its own level. */
const levels: readonly (readonly string[])[] = [
  ['src/amounts', 'src/errors', 'src/log', 'src/try-place', 'src/version', 'src/write-whole'],
  ['src/onnx'],
  ['src/graph'],
  ['src/shape'],
  ['src/node-builder'],
  ['src/axes'],
  ['src/model', 'src/model-folder'],
  ['src/runtime'],
  ['src/data', 'src/inspect', 'src/linear-algebra'],
  ['kernels', 'src/rewrite'],
  ['src/gradients'],
  [
    'src/calibrate',
    'src/evaluate',
    'src/plan',
    'src/quantize',
    'src/vocabulary',
    'src/sparse',
    'src/train',
    'src/bench',
    'src/compare',
    'src/generate',
  ],
  ['src/repair'],
  ['passes'],
  ['src/prune'],
  ['src/verify'],
  ['src/report'],
  ['src/index', 'src/cli'],
  ['commands'],
  ['bin'],
]

const levelOf = (file: string): number =>
  levels.findIndex((level) =>
    level.some((each) => file.startsWith(`${each}/`) || file.startsWith(`${each}.`)),
  )

it('every file of the sources stands on a level', () => {
  expect(files.filter((file) => levelOf(file) < 0)).toEqual([])
})

describe('imports', () => {
  it('point from higher rooms to lower ones', () => {
    const wrong = imports.filter(
      ({ from, to }) => levelOf(to) >= 0 && levelOf(from) >= 0 && levelOf(to) > levelOf(from),
    )
    // Types of flags and options may be named by the code that reads them.
    expect(wrong.filter(({ isType }) => !isType)).toEqual([])
  })

  it('never lead from the library to the commands or the terminal', () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        /^(src|passes|kernels)\//.test(from) &&
        !from.startsWith('src/cli/') &&
        /^(commands|src\/cli)\//.test(to),
    )
    expect(wrong).toEqual([])
  })

  it('lead to passes from the main job and the public library only, never from one pass to another', () => {
    const passOf = (file: string): string => file.split('/').slice(0, 2).join('/')
    const wrong = imports.filter(({ from, to }) => {
      if (!to.startsWith('passes/')) return false
      if (from === 'passes/index.ts') return false
      if (from.startsWith('passes/')) return passOf(from) !== passOf(to)
      const isAllowed = from.startsWith('src/prune/') || from === 'src/index.ts'
      return !isAllowed
    })
    expect(wrong).toEqual([])
  })

  it('keep the main job out of passes', () => {
    const wrong = imports.filter(
      ({ from, to }) => from.startsWith('passes/') && to.startsWith('src/prune/'),
    )
    expect(wrong).toEqual([])
  })

  it.each([
    ['ora', /^src\/cli\/progress\.ts$/],
    ['onnxruntime-node', /^src\/runtime\//],
    ['@oclif/core', /^(commands|src\/cli|bin)\//],
    ['lilconfig', /^src\/cli\/config-file\.ts$/],
    ['protobufjs', /^src\/onnx\//],
  ])('bring in %s in one place', (name, place) => {
    const users = imports.filter(({ to }) => to === name)
    expect(users.filter(({ from }) => !place.test(from))).toEqual([])
  })

  it('of a command load the library only when it runs', () => {
    const heavy = ['onnxruntime-node', 'protobufjs', 'ora', 'lilconfig', '@huggingface/tokenizers']
    const found = imports
      .filter(({ from }) => from.startsWith('commands/'))
      .flatMap(({ from }) =>
        eagerlyReached(from)
          .filter((to) => heavy.includes(to))
          .map((to) => `${from} → ${to}`),
      )
    expect([...new Set(found)]).toEqual([])
  })
})

function eagerlyReached(start: string): string[] {
  const seen = new Set<string>()
  const open = [start]
  for (let file = open.pop(); file !== undefined; file = open.pop())
    for (const { to, isType, isLazy } of imports.filter(({ from }) => from === file))
      if (!isType && !isLazy && !seen.has(to)) {
        seen.add(to)
        open.push(to)
      }
  return [...seen]
}

function sourcesBelow(folder: string): string[] {
  try {
    return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|js)$/.test(name))
      .map((name) => join(folder, name))
  } catch {
    // A room that is not there yet.
    return []
  }
}

function importsOf(from: string): Import[] {
  const text = readFileSync(join(root, from), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
  const found: Import[] = []
  const pattern =
    /^(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm
  for (const [whole, type, still, lazy] of text.matchAll(pattern)) {
    const name = still ?? lazy ?? ''
    const to = name.startsWith('.')
      ? relative(root, resolve(root, dirname(from), name)).replace(/\.js$/, '.ts')
      : name
    // `typeof import('x')` is a type as well.
    const before = text.slice(0, text.indexOf(whole)).trimEnd()
    found.push({
      from,
      to,
      isType: type !== undefined || (lazy !== undefined && /typeof$/.test(before)),
      isLazy: lazy !== undefined,
    })
  }
  return found
}
