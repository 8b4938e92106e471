/** What can't be met is said at once. */
import { expect, it } from 'vitest'
import { parseCondition } from '../../src/evaluate/condition.js'
import { refuseContradictions } from '../../src/prune/contradictions.js'
import { parseTarget } from '../../src/prune/target.js'

const together = (target: string, condition: string) => () =>
  refuseContradictions([parseTarget(target)], [parseCondition(condition)])

it.each([
  ['params=0.8x', 'params>0.7x'],
  ['params=0.8x', 'params>-25%'],
  ['params=0.8x', 'params<0.9x'],
  ['size=50MB', 'size>40MB'],
  ['latency=0.7x@seq=128', 'latency>0.6x@seq=128'],
  ['throughput=1.4x', 'throughput<1.5x'],
])('%s is refused beside %s', (target, condition) => {
  expect(together(target, condition)).toThrow(/just meets the target/)
})

it.each([
  ['params=0.8x', 'params>0.8x'],
  ['params=0.8x', 'params>0.9x'],
  ['params=0.8x', 'size>0.7x'],
  ['size=50MB', 'size>0.5x'],
  ['latency=0.7x@seq=128', 'latency>0.6x@seq=256'],
  ['throughput=1.4x', 'throughput<1.3x'],
  ['params=0.8x', 'perplexity>+5%'],
])('%s stands beside %s', (target, condition) => {
  expect(together(target, condition)).not.toThrow()
})
