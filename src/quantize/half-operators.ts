/**
 * Operators that half precision is safe for: products, and what moves, adds or bends single numbers. Sums
 * over many squares, powers and logarithms stay as they are, as does every operator that isn't here.
 */
import { kernels } from '../../kernels/index.js'
import { KERNEL_DOMAIN } from '../../kernels/kernel.js'

const standard = `Abs Add AveragePool Clip Concat Conv DepthToSpace Div Einsum Elu Erf Expand Flatten Gather
GatherElements GatherND Gelu Gemm GlobalAveragePool HardSigmoid HardSwish Identity LayerNormalization
LeakyRelu MatMul MaxPool Mul Neg Pad RMSNormalization Relu Reshape RotaryEmbedding
ScatterElements ScatterND Sigmoid Slice
SimplifiedLayerNormalization Softmax Split Squeeze Sub Tanh Tile Transpose Unsqueeze Where`
const microsoft = `BiasGelu EmbedLayerNormalization FastGelu FusedMatMul Gelu GroupQueryAttention
MultiHeadAttention QuickGelu RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization`

/** `Add`, `com.microsoft.FastGelu` */
export const halfOperators: ReadonlySet<string> = new Set([
  ...standard.split(/\s+/),
  ...microsoft.split(/\s+/).map((op) => `com.microsoft.${op}`),
  ...kernels.map(({ name }) => `${KERNEL_DOMAIN}.${name}`),
])

/** Read a value's shape or turn its type into another: they take any type. */
export const typeless: ReadonlySet<string> = new Set(['Shape', 'Size', 'Cast'])
