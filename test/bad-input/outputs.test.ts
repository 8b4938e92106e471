/** Places that can't be written, and writing that ends early: no output, no leftovers, old output whole. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadModel } from '../../src/model-folder/load.js'
import { writeFolder } from '../../src/model-folder/output-folder.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { encodeModel, toBytes } from '../../src/onnx/codec.js'
import { attentionModel } from '../fuzz/models.js'
import { listing, refusalOf } from './refusal.js'

let folder: string
let input: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
  input = join(folder, 'an input – ü')
  mkdirSync(input)
  writeFileSync(join(input, 'model.onnx'), toBytes(encodeModel(attentionModel())))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const save = (to: string, force = false, files: Record<string, string> = {}) =>
  saveModelFolder({
    models: { 'model.onnx': loadModel(input).model },
    from: input,
    to,
    force,
    files,
  })

describe('an output is refused that', () => {
  test.each<[title: string, make: () => string, code: string]>([
    ['has no name', () => '', 'OUTPUT_MISSING'],
    ['exists', () => input, 'OUTPUT_EXISTS'],
    ['is a file', () => join(input, 'model.onnx/../model.onnx'), 'OUTPUT_NOT_A_FOLDER'],
    ['is a text file', () => fileAt('notes'), 'OUTPUT_EXISTS'],
    ['lies below a file', () => join(fileAt('notes'), 'output'), 'OUTPUT_UNWRITABLE'],
    ['has a name too long', () => join(folder, 'x'.repeat(300)), 'OUTPUT_UNWRITABLE'],
    ['has a name that leaves no room', () => join(folder, 'x'.repeat(250)), 'OUTPUT_UNWRITABLE'],
    ['is of another encoding', () => join(folder, 'n\uFFFD'), 'OUTPUT_UNWRITABLE'],
    ['is a link to nothing', () => linkAt('link', join(folder, 'gone')), 'OUTPUT_EXISTS'],
    ['is a link to the input', () => linkAt('link', input), 'OUTPUT_EXISTS'],
  ])('%s', async (_, make, code) => {
    const to = make()
    expect(await refusalOf(folder, () => save(to))).toMatchObject({ code, exit: 2 })
  })

  test.each<[title: string, make: () => string, code: string]>([
    ['contains the input', () => folder, 'OUTPUT_CONTAINS_INPUT'],
    ['leads to what contains it', () => linkAt('link', folder), 'OUTPUT_CONTAINS_INPUT'],
    ['holds no model', () => join(fileAt('thesis/notes'), '..'), 'OUTPUT_NOT_A_MODEL'],
  ])('%s, also by force', async (_, make, code) => {
    const to = make()
    expect(await refusalOf(folder, () => save(to, true))).toMatchObject({ code, exit: 2 })
  })
})

describe('an output is written that', () => {
  test.each<[title: string, make: () => string]>([
    ['has spaces and signs in its name', () => join(folder, 'smaller, 20 % – größer 小')],
    ['lies inside the input', () => join(input, 'smaller')],
    ['is an empty folder', () => join(fileAt('empty/x', true), '..')],
    ['lies in folders that are not there yet', () => join(folder, 'a/b/c')],
  ])('%s', async (_, make) => {
    const to = make()
    await save(to)
    expect(readdirSync(to)).toEqual(['model.onnx'])
    expect(readdirSync(join(to, '..')).filter((name) => name.includes('attnc-'))).toEqual([])
  })

  test('is a link, which stays one', async () => {
    const real = join(folder, 'real')
    await save(real, false, { 'old.txt': '' })
    const link = linkAt('link', real)
    await save(link, true, { 'new.txt': '' })
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
    expect(readdirSync(real)).toEqual(['model.onnx', 'new.txt'])
  })
})

test('an old output comes back after a run that was killed between its two renames', async () => {
  const output = join(folder, 'output')
  await save(output, false, { 'old.txt': '' })
  const { pid } = spawnSync(process.execPath, ['--version'])
  renameSync(output, join(folder, `.output.attnc-${pid}-old`))
  const error = await save(output).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toMatchObject({ code: 'OUTPUT_EXISTS' })
  expect(readdirSync(output)).toContain('old.txt')
  expect(readdirSync(folder).filter((name) => name.includes('attnc-'))).toEqual([])
})

test('of two runs to one folder the slower one is refused, and the first output stays', async () => {
  const output = join(folder, 'output')
  const slower = writeFolder(output, {}, async (temporary) => {
    writeFileSync(join(temporary, 'model.onnx'), 'slower')
    // What another process puts there meanwhile.
    mkdirSync(output)
    writeFileSync(join(output, 'model.onnx'), 'faster')
  })
  await expect(slower).rejects.toMatchObject({ code: 'OUTPUT_EXISTS', oclif: { exit: 2 } })
  expect(readFileSync(join(output, 'model.onnx'), 'utf8')).toBe('faster')
  expect(readdirSync(folder).filter((name) => name.includes('attnc-'))).toEqual([])
})

describe('what this user may not do', () => {
  // Nobody, where the tests run as root, who may do everything.
  const isRoot = process.getuid?.() === 0
  const asNobody = async <Result>(work: () => Result): Promise<Awaited<Result>> => {
    if (isRoot) process.seteuid?.(65534)
    try {
      return await work()
    } finally {
      if (isRoot) process.seteuid?.(0)
    }
  }

  test('a model that may not be read, a folder that may not be written', async () => {
    chmodSync(folder, 0o755)
    const path = join(input, 'model.onnx')
    const { model } = loadModel(path)
    const write = () =>
      saveModelFolder({ models: { 'model.onnx': model }, to: join(folder, 'output') })
    if (!isRoot) chmodSync(folder, 0o555)
    expect(await refusalOf(folder, () => asNobody(write))).toMatchObject({
      code: 'OUTPUT_UNWRITABLE',
      exit: 2,
    })
    chmodSync(path, 0)
    expect(await refusalOf(folder, () => asNobody(() => loadModel(path)))).toMatchObject({
      code: 'MODEL_UNREADABLE',
      exit: 3,
    })
    chmodSync(path, 0o644)
    chmodSync(input, 0)
    expect(await refusalOf(folder, () => asNobody(() => loadModel(input)))).toMatchObject({
      code: 'MODEL_UNREADABLE',
      exit: 3,
    })
    chmodSync(folder, 0o755)
    chmodSync(input, 0o755)
  })
})

describe('a process that writes', { timeout: 60_000 }, () => {
  const script = [process.execPath, '--import', 'tsx', 'test/bad-input/save-model.ts']
  const shell = (text: string) =>
    spawnSync('bash', ['-c', text, 'bash', ...script], { encoding: 'utf8' })
  const hasMounts = spawnSync('unshare', ['-m', 'true']).status === 0
  if (!hasMounts) process.stdout.write('full disk: skipped, this user may not mount a small one\n')

  test('meets a limit on the size of files', async () => {
    await save(join(folder, 'output'), false, { 'old.txt': '' })
    const before = listing(folder)
    const { stdout, status } = shell(
      `ulimit -f 4096; exec "$@" '${join(folder, 'output')}' 2 0 force`,
    )
    expect(stdout).toBe('writing\nDISK_FULL\n')
    expect(status).toBe(1)
    expect(listing(folder)).toEqual(before)
  })

  test.skipIf(!hasMounts)('fills a disk that looked large enough', () => {
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    // Something else fills it while the second tensor is awaited.
    const { stdout, status } = shell(
      `exec unshare -m bash -c 'mount -t tmpfs -o size=20m tmpfs "$0" || exit
        "$@" "$0/output" 2 500 | { read -r line; head -c 12000000 /dev/zero > "$0/others"; cat; }
        code=\${PIPESTATUS[0]}; ls -A "$0"; exit $code' '${disk}' "$@" 2>&1`,
    )
    expect(stdout).toMatch(/DISK_FULL\nothers\n$/)
    expect(status).toBe(1)
    expect(readdirSync(disk)).toEqual([])
  })

  test.skipIf(!hasMounts)('finds a disk mounted where its folder should be', () => {
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    const { stdout, status } = shell(
      `exec unshare -m bash -c 'mount -t tmpfs tmpfs "$0" && "$@" "$0" 2 0; code=$?
        "$@" "$0/in it" 2 0; ls -A "$0"; exit $code' '${disk}' "$@" 2>&1`,
    )
    expect(stdout).toBe('OUTPUT_UNWRITABLE\nwriting\nSAVED\nin it\n')
    expect(status).toBe(2)
    expect(readdirSync(folder)).toEqual(['an input – ü', 'disk'])
  })

  test('is interrupted', async () => {
    const output = join(folder, 'output')
    await save(output, false, { 'old.txt': '' })
    const before = listing(folder)
    const [command = '', ...rest] = script
    const child = spawn(command, [...rest, output, '40', '100', 'force'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const said = await saidBy(child, (text) => text.includes('writing') && child.kill('SIGINT'))
    expect(said).toBe('writing\nINTERRUPTED\n')
    expect(child.exitCode).toBe(130)
    expect(listing(folder)).toEqual(before)
    expect(readFileSync(join(output, 'model.onnx')).length).toBeGreaterThan(1000)
  })
})

/** All that a process says; `onText` sees it while it comes. */
async function saidBy(child: ChildProcess, onText: (text: string) => unknown): Promise<string> {
  let said = ''
  for await (const chunk of child.stdout ?? []) {
    said += String(chunk)
    onText(said)
  }
  if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve))
  return said
}

function fileAt(name: string, isFolderOnly = false): string {
  const path = join(folder, name)
  mkdirSync(join(path, '..'), { recursive: true })
  if (!isFolderOnly) writeFileSync(path, '')
  return path
}

function linkAt(name: string, to: string): string {
  const path = join(folder, name)
  symlinkSync(to, path)
  return path
}
