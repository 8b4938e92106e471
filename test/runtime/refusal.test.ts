/** What ONNX Runtime says of a model that it doesn't open is told with the node, what it has and what was expected. */
import { expect, test } from 'vitest'
import { explainRefusal } from '../../src/runtime/refusal.js'

const wrapped = (said: string): Error =>
  new Error(`Load model from /m/model.onnx failed:This is an invalid model. ${said}`)

const inNode = (said: string): Error =>
  wrapped(
    `In Node, ("/m/Add_1", Add, "", -1) : ("x": tensor(float),) -> ("y": tensor(float),) , Error ${said}`,
  )

test.each<[string, Error, string]>([
  [
    'an input too few',
    inNode('Node(/m/Add_1) with schema(::Add:14) has input size 1 not in range [min=2, max=2].'),
    'node "/m/Add_1" (Add) has 1 inputs, and 2 were expected (version 14 of the operator).',
  ],
  [
    'no input where any number may be',
    inNode(
      'Node(/m/Add_1) with schema(::Concat:13) has input size 0 not in range [min=1, max=2147483647].',
    ),
    'node "/m/Add_1" (Concat) has 0 inputs, and 1 or more were expected (version 13 of the operator).',
  ],
  [
    'an input that is left empty',
    inNode("Node (/m/Add_1)'s input 1 is marked single but has an empty string in the graph"),
    'node "/m/Add_1" (Add) leaves its input 1 empty, which has to be there (the first is 0).',
  ],
  [
    'anything else that is said of a node',
    inNode('Unrecognized attribute: depth for operator Add'),
    'node "/m/Add_1" (Add): Unrecognized attribute: depth for operator Add.',
  ],
  [
    'shapes that do not fit',
    new Error('Node (mul) Op (Mul) [ShapeInferenceError] Incompatible dimensions'),
    'node "mul" (Mul): Incompatible dimensions.',
  ],
  [
    'an input of a wrong type',
    wrapped(
      "Type Error: Type 'tensor(float)' of input parameter (scales) of operator (MatMulNBits) in node (q) is invalid.",
    ),
    'node "q" (MatMulNBits) reads "scales", whose type is float; the operator expects another.',
  ],
  [
    'inputs of two types',
    new Error(
      'Type Error: Type parameter (T) of Optype (Mul) bound to different types (tensor(float) and tensor(int64) in node (m).',
    ),
    'node "m" (Mul) reads inputs of the types float and int64, where one type was expected.',
  ],
  ['words that are not known', wrapped('Something else.'), 'Something else.'],
])('%s', (_, cause, reason) => {
  const error = explainRefusal(cause, { path: '/m/model.onnx' }, 'cpu')
  expect(error).toMatchObject({
    code: 'SESSION_REFUSED',
    cause,
    oclif: { exit: 3 },
    message: `ONNX Runtime can't load "/m/model.onnx": ${reason}`,
  })
})
