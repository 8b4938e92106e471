/**
 * How long attnc takes to say something, beside a bare Node: what people wait for before anything runs. Programs
 * start in turns; the least and the median of each.
 *
 *     npm run build && npx tsx bench/cold-start.ts [turns]
 */
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { spreadOf } from '../src/bench/statistics.js'

const program = resolve(import.meta.dirname, '../bin/run.js')
const cases: readonly (readonly [string, readonly string[]])[] = [
  ['node -e 0', ['-e', '0']],
  ['attnc --version', [program, '--version']],
  ['attnc --help', [program, '--help']],
  ['attnc prune --help', [program, 'prune', '--help']],
]
const times = cases.map((): number[] => [])
for (let turn = 0; turn < Number(process.argv[2] ?? 30); turn++)
  for (const [index, [, argv]] of cases.entries()) {
    const began = performance.now()
    spawnSync(process.execPath, argv)
    times[index]?.push(performance.now() - began)
  }
const [bare] = times.map(spreadOf)
for (const [index, [name]] of cases.entries()) {
  const { least, median } = spreadOf(times[index] ?? [])
  const ratios = [least / (bare?.least ?? 1), median / (bare?.median ?? 1)]
  process.stdout.write(
    `${name.padEnd(20)} least ${least.toFixed(0)} ms (${ratios[0]?.toFixed(2)}), median ${median.toFixed(0)} ms (${ratios[1]?.toFixed(2)})\n`,
  )
}
