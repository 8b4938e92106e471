/**
 * Defaults of a project: `.attncrc` or `attnc.config.json`, found in the folder where attnc runs or above
 * it. Keys are flags without their dashes, at the top for every command that has the flag, or under the
 * name of a command for that one. What is typed wins.
 */
import { lilconfig } from 'lilconfig'
import { AttncError } from '../errors.js'
import { nearestOf } from './nearest.js'

export type Settings = Readonly<Record<string, unknown>>

export interface ConfigFile {
  readonly path: string
  readonly settings: Settings
}

/** A flag as far as defaults need to know it. */
interface KnownFlag {
  readonly type: 'boolean' | 'option'
  readonly char?: string | undefined
  readonly allowNo?: boolean | undefined
  readonly exclusive?: readonly unknown[] | undefined
}

export type KnownFlags = Readonly<Record<string, KnownFlag>>

const places = [
  '.attncrc',
  '.attncrc.json',
  'attnc.config.json',
  'attnc.config.js',
  'attnc.config.mjs',
  'attnc.config.cjs',
]

/** The nearest file. Errors: CONFIG_UNREADABLE, CONFIG_FORMAT. */
export async function findConfig(folder: string): Promise<ConfigFile | undefined> {
  let found: Awaited<ReturnType<ReturnType<typeof lilconfig>['search']>>
  try {
    found = await lilconfig('attnc', { searchPlaces: places }).search(folder)
  } catch (cause) {
    throw new AttncError(
      'CONFIG_UNREADABLE',
      'usage',
      `The file of defaults (${places.slice(0, 3).join(', ')} …) can't be read: ${(cause as Error).message}`,
      { cause, suggestions: ['Write it as JSON: {"threads": 4, "prune": {"ratio": 0.3}}.'] },
    )
  }
  if (!found || found.isEmpty) return undefined
  const settings: unknown = found.config
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    throw new AttncError('CONFIG_FORMAT', 'usage', `"${found.filepath}" holds no object.`, {
      suggestions: ['Write it as JSON: {"threads": 4, "prune": {"ratio": 0.3}}.'],
    })
  return { path: found.filepath, settings: settings as Settings }
}

/**
 * The defaults of one command as arguments, those left out that `argv` gives itself or excludes.
 * `commands`: flags of every command by its name. Errors: CONFIG_KEY, CONFIG_VALUE.
 */
export function configArguments(
  { path, settings }: ConfigFile,
  command: string,
  commands: ReadonlyMap<string, KnownFlags>,
  argv: readonly string[],
): string[] {
  const own = commands.get(command) ?? {}
  const merged = new Map<string, unknown>()
  for (const [key, value] of Object.entries(settings)) {
    const section = commands.get(key)
    if (section && typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const name of Object.keys(value)) checkKey(path, `${key}.${name}`, name, [section])
      if (key === command)
        for (const [name, inner] of Object.entries(value)) merged.set(name, inner)
      continue
    }
    checkKey(path, key, key, [...commands.values()])
    if (key in own && !merged.has(key)) merged.set(key, value)
  }
  const typed = Object.keys(own).filter((name) => isTyped(name, own[name], argv))
  const isExcluded = (name: string): boolean =>
    typed.some(
      (each) => own[each]?.exclusive?.includes(name) || own[name]?.exclusive?.includes(each),
    )
  return [...merged].flatMap(([name, value]) =>
    typed.includes(name) || isExcluded(name) ? [] : toArguments(path, name, value, own[name]),
  )
}

function checkKey(
  path: string,
  shown: string,
  name: string,
  sections: readonly KnownFlags[],
): void {
  if (sections.some((section) => name in section)) return
  const known = [...new Set(sections.flatMap((section) => Object.keys(section)))].sort()
  const nearest = nearestOf(name, known)
  throw new AttncError(
    'CONFIG_KEY',
    'usage',
    `"${path}" sets "${shown}", which is no flag of ${sections.length > 1 ? 'any command' : 'that command'}.`,
    {
      suggestions: [
        ...(nearest.length > 0 ? [`Did you mean "${nearest.join('" or "')}"?`] : []),
        `Known: ${known.join(', ')}.`,
      ],
    },
  )
}

function isTyped(name: string, flag: KnownFlag | undefined, argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  const { char } = flag ?? {}
  return argv.slice(0, end < 0 ? argv.length : end).some(
    (each) =>
      each === `--${name}` ||
      each === `--no-${name}` ||
      each.startsWith(`--${name}=`) ||
      // -o out, and -oout.
      (char !== undefined && each.startsWith(`-${char}`)),
  )
}

function toArguments(
  path: string,
  name: string,
  value: unknown,
  flag: KnownFlag | undefined,
): string[] {
  if (flag?.type === 'boolean' && typeof value === 'boolean')
    return value ? [`--${name}`] : flag.allowNo ? [`--no-${name}`] : []
  const values = Array.isArray(value) ? value : [value]
  const isPlain = values.every((each) => typeof each === 'string' || typeof each === 'number')
  if (flag?.type === 'option' && isPlain) return values.map((each) => `--${name}=${each}`)
  throw new AttncError(
    'CONFIG_VALUE',
    'usage',
    `"${path}" sets "${name}" to ${JSON.stringify(value)}; ${
      flag?.type === 'boolean' ? 'true or false' : 'text, a number or a list of them'
    } is understood.`,
  )
}
