/**
 * attnc as npm would publish it, made once from the sources in a folder of its own (`dist` of the checkout
 * may be read by other tests meanwhile), without the native parts, which need a compiler.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../commands/run-command.js'

const parts = [
  ...['src', 'commands', 'passes', 'kernels', 'bin', 'package.json', 'tsconfig.json'],
  ...['tsconfig.build.json', 'README.md', 'LICENSE'],
]

export interface Packed {
  /** The package as it was built, with `bin` and `dist`. */
  readonly folder: string
  readonly tarball: string
  dispose(): void
}

export function pack(): Packed {
  const place = mkdtempSync(join(tmpdir(), 'attnc-package-'))
  const folder = join(place, 'attnc')
  mkdirSync(folder)
  for (const part of parts)
    cpSync(join(root, part), join(folder, part), {
      recursive: true,
      filter: (path) => !/kernels\/prebuilt/.test(path),
    })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const run = (command: string, ...argv: string[]): string =>
    execFileSync(command, argv, { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
  run('npm', 'run', '-s', 'build')
  run('npx', 'oclif', 'manifest')
  const [{ filename }] = JSON.parse(run('npm', 'pack', '--ignore-scripts', '--json')) as [
    { filename: string },
  ]
  return {
    folder,
    tarball: join(folder, filename),
    dispose: () => rmSync(place, { recursive: true, force: true }),
  }
}

/** Installs the tarball in a folder; the reason where the packages it needs can't be had. */
export function install(tarball: string, folder: string): string | undefined {
  const { status, stderr } = spawnSync(
    'npm',
    [
      ...['install', '--prefer-offline', '--no-audit', '--no-fund', '--fetch-retries=0'],
      // ONNX Runtime's script would download providers for GPUs.
      ...['--ignore-scripts', tarball],
    ],
    { cwd: folder, encoding: 'utf8' },
  )
  if (status === 0) return undefined
  const reason = unreachable(stderr)
  if (reason) return reason
  throw new Error(stderr)
}

/** What npm said, where it is that there is no registry here. */
export function unreachable(stderr: string): string | undefined {
  const reason = /npm error code (\S+)/.exec(stderr)?.[1] ?? stderr
  return /ENOTFOUND|ETIMEDOUT|ECONN|EAI_AGAIN|ENOTCACHED|E50\d|E40[13]/.test(reason)
    ? `the packages that attnc needs can't be had here (${reason})`
    : undefined
}
