/** Shapes of products: batch axes broadcast, rows and columns pass, the contracted axes go. */
import { intAttribute, stringAttribute } from '../../graph/graph.js'
import type { DataType } from '../../onnx/data-type.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'
import { broadcast } from './elementwise.js'

interface Product {
  readonly left?: number
  readonly right: number
  readonly type: DataType | number
  readonly flips?: boolean
}

const product =
  ({ left = 0, right, type, flips = false }: Product): ShapeRule =>
  (context) => {
    const result = typeof type === 'number' ? context.dataType(type) : type
    const a = context.dims(left)
    const b = context.dims(right)
    if (!a || !b) return context.set(0, undefined, result)
    const isFlipped = (name: string): boolean => flips && intAttribute(context.node, name, 0) === 1
    const rows = a.length > 1 ? [a[a.length - (isFlipped('transA') ? 1 : 2)]] : []
    const columns = b.length > 1 ? [b[b.length - (isFlipped('transB') ? 2 : 1)]] : []
    const batch = broadcast([a.slice(0, -2), b.slice(0, -2)])
    context.set(0, [...batch, ...rows, ...columns], result)
  }

const einsum: ShapeRule = (context) => {
  const equation = stringAttribute(context.node, 'equation')?.replaceAll(' ', '') ?? ''
  const [left = '', stated] = equation.split('->')
  const terms = left.split(',')
  const sizes = new Map<string, Size>()
  let dots: readonly Size[] = []
  for (const [index, term] of terms.entries()) {
    const dims = context.dims(index)
    if (!dims) return context.set(0, undefined, context.dataType(0))
    const [before = '', after = ''] = term.split('...')
    const note = (letter: string, size: Size | undefined): void => {
      const known = sizes.get(letter)
      if (size && (!known || known.isOne)) sizes.set(letter, size)
    }
    for (const [i, letter] of [...before].entries()) note(letter, dims[i])
    for (const [i, letter] of [...after].entries())
      note(letter, dims[dims.length - after.length + i])
    if (term.includes('...'))
      dots = broadcast([dots, dims.slice(before.length, dims.length - after.length)])
  }
  const once = [...left.replaceAll(/[.,]/g, '')].filter(
    (letter, _, all) => all.indexOf(letter) === all.lastIndexOf(letter),
  )
  const right = stated ?? `${left.includes('...') ? '...' : ''}${once.sort().join('')}`
  const dims = [...right.replace('...', '.')].flatMap((letter): readonly (Size | undefined)[] =>
    letter === '.' ? dots : [sizes.get(letter)],
  )
  context.set(0, dims, context.dataType(0))
}

const matMulNBits: ShapeRule = (context) => {
  const a = context.dims(0)
  if (!a) return
  context.set(
    0,
    [...a.slice(0, -1), Size.of(intAttribute(context.node, 'N', 1))],
    context.dataType(0),
  )
}

/** Spatial size after a window of `kernel` moves over it. */
function windowed(
  context: ShapeContext,
  size: Size,
  axis: number,
  kernel: Size | undefined,
): Size | undefined {
  const { node } = context
  const list = (name: string): readonly number[] | undefined => {
    const attribute = node.attributes.get(name)
    return attribute?.kind === 'ints' ? attribute.value.map(Number) : undefined
  }
  const rank = (context.dims(0)?.length ?? 2) - 2
  const stride = list('strides')?.[axis] ?? 1
  const dilation = list('dilations')?.[axis] ?? 1
  const pads = list('pads')
  const auto = stringAttribute(node, 'auto_pad') ?? 'NOTSET'
  if (auto.startsWith('SAME')) return size.add(Size.of(stride - 1)).floorDiv(Size.of(stride))
  if (!kernel) return undefined
  const padding = auto === 'VALID' ? 0 : (pads?.[axis] ?? 0) + (pads?.[axis + rank] ?? 0)
  const reach = kernel.sub(Size.of(1)).mul(Size.of(dilation)).add(Size.of(1))
  const room = size.add(Size.of(padding)).sub(reach)
  const steps =
    intAttribute(node, 'ceil_mode', 0) === 1
      ? room.add(Size.of(stride - 1)).floorDiv(Size.of(stride))
      : room.floorDiv(Size.of(stride))
  return steps.add(Size.of(1))
}

const convolution =
  (weight: number, type: DataType | number): ShapeRule =>
  (context) => {
    const x = context.dims(0)
    const w = context.dims(weight)
    const result = typeof type === 'number' ? context.dataType(type) : type
    if (!x || !w) return context.set(0, undefined, result)
    const space = x.slice(2).map((size, axis) => windowed(context, size, axis, w[axis + 2]))
    context.set(0, [x[0], w[0], ...space], result)
  }

const transposedConvolution: ShapeRule = (context) => {
  const x = context.dims(0)
  const w = context.dims(1)
  if (!x || !w) return
  const group = intAttribute(context.node, 'group', 1)
  context.set(
    0,
    [x[0], w[1]?.mul(Size.of(group)), ...x.slice(2).map(() => undefined)],
    context.dataType(0),
  )
}

const pool: ShapeRule = (context) => {
  const x = context.dims(0)
  if (!x) return
  const kernel = context.node.attributes.get('kernel_shape')
  const sizes = kernel?.kind === 'ints' ? kernel.value.map((n) => Size.of(Number(n))) : []
  const dims = [
    ...x.slice(0, 2),
    ...x.slice(2).map((size, axis) => windowed(context, size, axis, sizes[axis])),
  ]
  context.set(0, dims, context.dataType(0))
  context.set(1, dims, 'int64')
}

const globalPool: ShapeRule = (context) => {
  const x = context.dims(0)
  context.set(
    0,
    x?.map((size, axis) => (axis < 2 ? size : Size.of(1))),
    context.dataType(0),
  )
}

const resize: ShapeRule = (context) => {
  const x = context.dims(0)
  if (!x) return
  const sizes = context.elements(3)?.elements ?? []
  const scales = context.elements(2)?.elements ?? context.elements(1)?.elements ?? []
  context.set(
    0,
    x.map((size, axis) => {
      if (sizes[axis]) return sizes[axis]
      const scale = scales[axis]?.value
      if (scale === undefined) return undefined
      return scale === 1
        ? size
        : size.value === undefined
          ? undefined
          : Size.of(Math.floor(size.value * scale))
    }),
    context.dataType(0),
  )
}

/** Blocks [N, channels·block, places] added up into images. */
const col2Im: ShapeRule = (context) => {
  const x = context.dims(0)
  const image = context.elements(1)?.elements
  const block = context.elements(2)?.elements
  if (!x || !image) return
  const places = block?.every((size) => size)
    ? (block as Size[]).reduce((product, size) => product.mul(size), Size.of(1))
    : undefined
  context.set(0, [x[0], places && x[1]?.divideExact(places), ...image], context.dataType(0))
}

/** Real and imaginary parts are the last axis. */
const dft: ShapeRule = (context) => {
  const x = context.dims(0)
  const isWhole = !context.node.inputs[1] && intAttribute(context.node, 'onesided', 0) === 0
  context.set(0, x && isWhole ? [...x.slice(0, -1), Size.of(2)] : undefined, context.dataType(0))
}

export const contractionRules: Readonly<Record<string, ShapeRule>> = {
  MatMul: product({ right: 1, type: 0 }),
  Gemm: product({ right: 1, type: 0, flips: true }),
  Einsum: einsum,
  MatMulInteger: product({ right: 1, type: 'int32' }),
  QLinearMatMul: product({ right: 3, type: 7 }),
  'com.microsoft.FusedMatMul': product({ right: 1, type: 0, flips: true }),
  'com.microsoft.FusedGemm': product({ right: 1, type: 0, flips: true }),
  'com.microsoft.GemmFastGelu': product({ right: 1, type: 0 }),
  'com.microsoft.MatMulIntegerToFloat': product({ right: 1, type: 2 }),
  'com.microsoft.DynamicQuantizeMatMul': product({ right: 1, type: 0 }),
  'com.microsoft.MatMulNBits': matMulNBits,
  'com.microsoft.MatMulBnb4': matMulNBits,
  Conv: convolution(1, 0),
  ConvInteger: convolution(1, 'int32'),
  QLinearConv: convolution(3, 7),
  'com.microsoft.FusedConv': convolution(1, 0),
  ConvTranspose: transposedConvolution,
  AveragePool: pool,
  MaxPool: pool,
  LpPool: pool,
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  Resize: resize,
  Upsample: resize,
  Col2Im: col2Im,
  DFT: dft,
}
