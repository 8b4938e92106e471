/** What ONNX Runtime throws is told with its node, without places in its sources. */
import { expect, test } from 'vitest'
import { explainFailure } from '../../src/runtime/failure.js'

const wrapped = (op: string, name: string, said: string): Error =>
  new Error(
    `Non-zero status code returned while running ${op} node. Name:'${name}' Status Message: ${said}`,
  )

test.each<[string, Error, string, RegExp]>([
  [
    'memory that an arena does not get',
    wrapped(
      'FusedMatMul',
      'a/b',
      '/src/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 240000000000\n',
    ),
    'TOO_LITTLE_MEMORY',
    /^ONNX Runtime asked for 240 GB more at node "a\/b" \(FusedMatMul\) and did not get it; .+ are free\.$/,
  ],
  [
    'memory that the system does not give',
    new Error('std::bad_alloc'),
    'TOO_LITTLE_MEMORY',
    /^ONNX Runtime asked for more memory and did not get it/,
  ],
  [
    'sizes that do not fit',
    wrapped(
      'Add',
      '/m/Add_1',
      '/src/element_wise_ops.h:583 void onnxruntime::BroadcastIterator::Append(ptrdiff_t, ptrdiff_t) axis == 1 was false. 512 by 1000\n',
    ),
    'RUN_FAILED',
    /^ONNX Runtime stopped at node "\/m\/Add_1" \(Add\): axis == 1 was false\. 512 by 1000$/,
  ],
  [
    'templates that are written out',
    wrapped('Gather', 'g', '[with Tin = long int; int64_t = long int] Out of range value'),
    'RUN_FAILED',
    /^ONNX Runtime stopped at node "g" \(Gather\): Out of range value$/,
  ],
  ['anything else', new Error('it just stopped'), 'RUN_FAILED', /^ONNX Runtime stopped: it just/],
])('%s', (_, cause, code, message) => {
  const error = explainFailure(cause, 'cpu')
  expect(error).toMatchObject({ code, cause, oclif: { exit: 7 } })
  expect(error.message).toMatch(message)
  expect(error.suggestions).toHaveLength(1)
})

test.each([
  ['indices element out of data bounds, idx=99 must be within the inclusive range [-4,3]', /ids/],
  ['axis == 1 was false. 512 by 1000', /Sizes may not fit/],
])('the next step fits what was said: %s', (said, step) => {
  expect(explainFailure(wrapped('Gather', 'g', said), 'cpu').suggestions[0]).toMatch(step)
})
