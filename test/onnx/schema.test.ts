/** The schema against onnx-proto (which stops at IR 8), and messages that carry unknown fields. */
import fc from 'fast-check'
import onnxProto from 'onnx-proto'
import { describe, expect, test } from 'vitest'
import { decodeModel, encodeModel, toBytes } from '../../src/onnx/codec.js'
import { dataTypeCode, dataTypes } from '../../src/onnx/data-type.js'
import { attributeTypes, copyMessage, type ModelMessage } from '../../src/onnx/messages.js'
import { buildSchema } from '../../src/onnx/schema.js'
import { tensorFromMessage } from '../../src/onnx/tensor-message.js'
import { linearModel, tensorMessage } from './messages.js'

const { onnx } = onnxProto

describe('schema', () => {
  test('reads what onnx-proto writes, field for field', () => {
    const theirs = onnx.ModelProto.create({
      irVersion: 8,
      opsetImport: [{ domain: 'a', version: 17 }],
      producerName: 'p',
      producerVersion: '1',
      domain: 'd',
      modelVersion: 3,
      docString: 'doc',
      metadataProps: [{ key: 'k', value: 'v' }],
      trainingInfo: [
        {
          initialization: { name: 'init' },
          algorithm: { name: 'algo' },
          initializationBinding: [{ key: 'i', value: 'j' }],
          updateBinding: [{ key: 'u', value: 'w' }],
        },
      ],
      functions: [
        {
          name: 'f',
          input: ['i'],
          output: ['o'],
          attribute: ['a'],
          node: [{ opType: 'Identity' }],
          docString: 'fd',
          opsetImport: [{ version: 17 }],
          domain: 'fd',
        },
      ],
      graph: {
        name: 'g',
        docString: 'gd',
        node: [
          {
            input: ['x'],
            output: ['y'],
            name: 'n',
            opType: 'Op',
            domain: 'od',
            docString: 'nd',
            attribute: [
              { name: 'f', type: 1, f: 1.5, docString: 'ad', refAttrName: 'r' },
              { name: 'i', type: 2, i: -5 },
              { name: 's', type: 3, s: Buffer.from('s') },
              { name: 't', type: 4, t: { dims: [2], dataType: 1, floatData: [1, 2], name: 't' } },
              { name: 'g', type: 5, g: { name: 'inner' } },
              { name: 'fs', type: 6, floats: [1, 2] },
              { name: 'is', type: 7, ints: [1, -2] },
              { name: 'ss', type: 8, strings: [Buffer.from('s')] },
              { name: 'ts', type: 9, tensors: [{ name: 't' }] },
              { name: 'gs', type: 10, graphs: [{ name: 'g' }] },
              { name: 'sp', type: 11, sparseTensor: { dims: [4] } },
              { name: 'sps', type: 12, sparseTensors: [{ dims: [4] }] },
              { name: 'tp', type: 13, tp: { denotation: 'x' } },
              { name: 'tps', type: 14, typeProtos: [{ denotation: 'x' }] },
            ],
          },
        ],
        initializer: [
          {
            dims: [1],
            dataType: 6,
            segment: { begin: 1, end: 2 },
            int32Data: [-1],
            int64Data: [-7],
            doubleData: [2.5],
            uint64Data: [9],
            stringData: [Buffer.from('z')],
            rawData: Buffer.from('raw'),
            name: 'w',
            docString: 'td',
            externalData: [{ key: 'location', value: 'l' }],
            dataLocation: 1,
          },
        ],
        sparseInitializer: [{ values: { name: 'v' }, indices: { name: 'i' }, dims: [3] }],
        input: [
          {
            name: 'x',
            docString: 'vd',
            type: {
              denotation: 'IMAGE',
              tensorType: {
                elemType: 1,
                shape: { dim: [{ dimValue: 2, denotation: 'D' }, { dimParam: 'n' }] },
              },
            },
          },
          { name: 's', type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } } },
          { name: 'm', type: { mapType: { keyType: 8, valueType: { tensorType: {} } } } },
          { name: 'o', type: { optionalType: { elemType: { tensorType: {} } } } },
          { name: 'p', type: { sparseTensorType: { elemType: 1, shape: {} } } },
        ],
        quantizationAnnotation: [
          { tensorName: 'w', quantParameterTensorNames: [{ key: 'SCALE', value: 's' }] },
        ],
      },
    } as unknown as Parameters<typeof onnx.ModelProto.create>[0])
    const bytes = onnx.ModelProto.encode(theirs).finish()
    const ours = decodeModel(bytes)
    expect(leftovers(ours)).toEqual([])
    // Their reader understands what we write as it understood what they wrote.
    const back = onnx.ModelProto.decode(toBytes(encodeModel(ours)))
    expect(back.toJSON()).toEqual(onnx.ModelProto.decode(bytes).toJSON())
    expect(ours.graph?.node?.[0]?.attribute?.[1]?.i).toBe(-5n)
    expect(ours.graph?.input?.[0]?.type?.tensor_type?.shape?.dim?.[1]?.dim_param).toBe('n')
  })

  test('has the fields that IR 8 to 13 added, which onnx-proto lacks', () => {
    const numbers = (message: string): Record<string, number> =>
      Object.fromEntries(
        buildSchema()
          .lookupType(`onnx.${message}`)
          .fieldsArray.map((field) => [field.name, field.id]),
      )
    expect(numbers('ModelProto')).toMatchObject({ functions: 25, configuration: 26 })
    expect(numbers('FunctionProto')).toMatchObject({
      attribute_proto: 11,
      value_info: 12,
      overload: 13,
      metadata_props: 14,
    })
    expect(numbers('NodeProto')).toMatchObject({
      overload: 8,
      metadata_props: 9,
      device_configurations: 10,
    })
    expect(numbers('GraphProto')).toMatchObject({ metadata_props: 16 })
    expect(numbers('ValueInfoProto')).toMatchObject({ metadata_props: 4 })
    expect(numbers('TensorProto')).toMatchObject({ metadata_props: 16 })
  })

  test('agrees with onnx-proto on enums', () => {
    const codes = onnx.TensorProto.DataType as unknown as Record<string, number>
    const names: Record<string, string> = { float32: 'FLOAT', float64: 'DOUBLE' }
    for (const type of dataTypes.slice(0, 16))
      expect(dataTypeCode(type)).toBe(codes[names[type] ?? type.toUpperCase()])
    const kinds = onnx.AttributeProto.AttributeType as unknown as Record<string, number>
    for (const [name, code] of Object.entries(attributeTypes))
      expect(code).toBe(kinds[name.replace(/[A-Z]/g, '_$&').toUpperCase()])
  })
})

/** Paths of messages with fields that the schema does not know. */
function leftovers(message: unknown, path = ''): string[] {
  if (Array.isArray(message)) return message.flatMap((each, i) => leftovers(each, `${path}[${i}]`))
  if (typeof message !== 'object' || message === null || ArrayBuffer.isView(message)) return []
  const { $unknowns } = message as { $unknowns?: readonly Uint8Array[] }
  return [
    ...($unknowns?.length ? [path] : []),
    ...Object.entries(message).flatMap(([key, value]) => leftovers(value, `${path}.${key}`)),
  ]
}

/** A field that no ONNX message has, with its tag. */
const unknownField = fc
  .tuple(fc.integer({ min: 1000, max: 500_000 }), fc.uint8Array({ maxLength: 20 }))
  .map(([id, content]) => {
    const tag = id * 8 + 2
    return Uint8Array.from([...varint(tag), ...varint(content.length), ...content])
  })

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return [...bytes, rest]
}

const unknowns = fc.array(unknownField, { minLength: 1, maxLength: 3 })

describe('lossless decoding', () => {
  test('keeps unknown fields at every depth, and integers of 64 bits', () => {
    fc.assert(
      fc.property(
        unknowns,
        unknowns,
        unknowns,
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        (atModel, atNode, atTensor, big) => {
          const plain = linearModel({ model_version: big })
          const model: ModelMessage = copyMessage(plain, {
            $unknowns: atModel,
            graph: copyMessage(plain.graph, {
              node: [copyMessage(plain.graph?.node?.[0], { $unknowns: atNode })],
              initializer: [copyMessage(tensorMessage('w', [1], [1]), { $unknowns: atTensor })],
            }),
          })
          const bytes = toBytes(encodeModel(model))
          const back = decodeModel(bytes)
          expect(back.model_version).toBe(big)
          expect(back.$unknowns?.map((each) => [...each])).toEqual(atModel.map((each) => [...each]))
          expect(back.graph?.node?.[0]?.$unknowns?.length).toBe(atNode.length)
          expect(back.graph?.initializer?.[0]?.$unknowns?.length).toBe(atTensor.length)
          expect(Buffer.compare(toBytes(encodeModel(back)), bytes)).toBe(0)
        },
      ),
      { numRuns: 50, seed: 1 },
    )
  })

  test('keeps text that is not UTF-8', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (text) => {
        // doc_string is field 6 of a model: the bytes are put there as they are.
        const bytes = Buffer.concat([
          toBytes(encodeModel({ ir_version: 8n })),
          Uint8Array.from([6 * 8 + 2, text.length, ...text]),
        ])
        expect(Buffer.compare(toBytes(encodeModel(decodeModel(bytes))), bytes)).toBe(0)
      }),
      { numRuns: 300, seed: 2 },
    )
  })

  test('reads typed fields of writers that do not pack', () => {
    // int32_data (5) as single varints, float_data (4) as single fixed32.
    const ints = tensorFromBytes(
      [
        [5 * 8, 7],
        [5 * 8, 1],
      ],
      6,
    )
    expect([...new Int32Array(ints.bytes().buffer)]).toEqual([7, 1])
    const singles = tensorFromBytes(
      [
        [4 * 8 + 5, 0, 0, 128, 63],
        [4 * 8 + 5, 0, 0, 0, 64],
      ],
      1,
    )
    expect([...new Float32Array(singles.bytes().buffer)]).toEqual([1, 2])
  })
})

function tensorFromBytes(fields: number[][], dataType: number) {
  const tensor = [1 * 8, fields.length, 2 * 8, dataType, ...fields.flat()]
  const graph = [5 * 8 + 2, tensor.length, ...tensor]
  const model = decodeModel(Uint8Array.from([7 * 8 + 2, graph.length, ...graph]))
  const message = model.graph?.initializer?.[0]
  if (!message) throw new Error('no tensor')
  return tensorFromMessage(message)
}
