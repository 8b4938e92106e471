/**
 * The source that row programs become for a GPU, compiled for the processor and run a thread for
 * each row: all but what threads do together, which `bench/cuda/row-programs.ts` runs on a device.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rowPorts } from '../../kernels/row-program/index.js'
import { type Port, portKinds } from '../../kernels/row-program/program.js'
import { arrayTypeOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { runReference } from './one-node.js'
import { rowCases, rowNode, shareOfTolerance } from './row-cases.js'

const compiler = process.env['CXX'] ?? 'g++'
// Half precision as a type of the language.
const probe = 'int main() { return (int)(_Float16)0; }'
const isThere =
  spawnSync(compiler, ['-x', 'c++', '-fsyntax-only', '-'], { input: probe }).status === 0
if (!isThere) process.stderr.write(`skipped: ${compiler} with _Float16 is not there\n`)

const here = join(import.meta.dirname, 'row-source')
const sources = join(import.meta.dirname, '../../kernels/row-program/cuda')
const folder = mkdtempSync(join(tmpdir(), 'attnc-rows-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Inputs and outputs of each case, in the order of the kernel's arguments. */
let orders: readonly (readonly [readonly Port[], readonly Port[]])[] = []

const portsIn = (text: string): Port[] =>
  [...text.matchAll(/(\d):(\d+)/g)].map(([, kind, number]) => ({
    kind: portKinds[Number(kind)] as Port['kind'],
    number: Number(number),
  }))

const bytesOf = ({ data }: RuntimeTensor): Buffer =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength)

describe.skipIf(!isThere)('the source of a row program', () => {
  beforeAll(() => {
    const parts = ['program', 'expressions', 'source'].map((name) => join(sources, `${name}.cpp`))
    const printer = join(folder, 'print')
    execFileSync(compiler, ['-std=c++17', join(here, 'print.cpp'), ...parts, '-o', printer])
    const input = rowCases.map(
      ({ program, dataType }) => `${Number(dataType === 'float16')} ${program}\n`,
    )
    const printed = spawnSync(printer, { input: input.join(''), encoding: 'utf8', maxBuffer: 1e8 })
    const lines = printed.stderr.trimEnd().split('\n')
    orders = lines.map((line) => {
      const [inputs = '', outputs = ''] = line.split('>')
      return [portsIn(inputs), portsIn(outputs)] as const
    })
    writeFileSync(join(folder, 'kernels.cpp'), printed.stdout)
    const flags = ['-std=c++17', '-O1', '-w', `-I${here}`]
    execFileSync(compiler, [...flags, join(folder, 'kernels.cpp'), '-o', join(folder, 'run')])
  }, 120_000)

  it.each(rowCases.map((each, number) => ({ ...each, number })))(
    'gives what its reference does: $title',
    (each) => {
      const node = rowNode(each)
      const expected = runReference(node)
      const [inputs, outputs] = orders[each.number] ?? [[], []]
      const given = inputs.map((port) => node.inputs[rowPorts.input(port)] as RuntimeTensor)
      const wanted = outputs.map((port) => expected[rowPorts.output(port)] as RuntimeTensor)
      const sizes = [
        ...given.map((tensor) => bytesOf(tensor).length),
        ...wanted.map((tensor) => -bytesOf(tensor).length),
      ]
      const run = spawnSync(join(folder, 'run'), [each.number, ...sizes].map(String), {
        input: Buffer.concat(given.map(bytesOf)),
        maxBuffer: 1e8,
      })
      expect(run.status).toBe(0)
      let at = 0
      const found = wanted.map(({ dataType, dims, data }): RuntimeTensor => {
        const end = at + data.byteLength
        const Type = arrayTypeOf(dataType) as NonNullable<ReturnType<typeof arrayTypeOf>>
        const own = new Type(Uint8Array.from(run.stdout.subarray(at, end)).buffer)
        at = end
        expect(own).toHaveLength(elementCount(dims))
        return { dataType, dims, data: own }
      })
      expect(shareOfTolerance(each, found, wanted)).toBeLessThan(1)
    },
  )
})
