/**
 * Attention over blocks that are listed at run time: a table of key blocks for each block of queries,
 * which begins at the queries' first block. Blocks that are none of the keys' are passed over.
 */
import {
  type AttentionSizes,
  type BlockAttentionAttributes,
  checkLayoutCount,
} from '../block-attention/attributes.js'
import { blockAttention } from '../block-attention/operator.js'
import { kernelError } from '../kernel.js'

const NAME = 'GatherBlockAttention'

export const gatherBlockAttention = blockAttention({
  name: NAME,
  inputs: [{ name: 'block_indices', shape: '[B, L, R, c]', type: 'int32' }],
  check([indices], sizes, attributes) {
    const refuse = (expected: string) =>
      kernelError(
        'KERNEL_INPUT',
        NAME,
        `"block_indices" is ${indices ? `${indices.dataType} [${indices.dims}]` : 'missing'}; expected ${expected}.`,
      )
    const [B, L, R, c] = indices?.dims ?? []
    if (indices?.dims.length !== 4 || indices.dataType !== 'int32' || B !== sizes.B || c === 0)
      throw refuse(`int32 [${sizes.B}, any, any, 1 or more]`)
    checkLayoutCount(NAME, 'block_indices', L as number, sizes)
    const needed = blockRows(sizes, attributes)
    if ((R as number) < needed)
      throw refuse(`${needed} or more blocks of ${attributes.queryBlock} queries`)
  },
  kept([indices], sizes, { queryBlock }) {
    if (!indices) throw new TypeError('inputs were checked')
    const [, L, R, c] = indices.dims as [number, number, number, number]
    const first = Math.floor(sizes.start / queryBlock)
    return (batch, head, row) => {
      const layout = Math.floor((head * L) / sizes.H)
      const at = ((batch * L + layout) * R + row - first) * c
      return (indices.data as Int32Array).subarray(at, at + c)
    }
  },
  choose(build, [indices]) {
    if (!indices) throw new TypeError('inputs were checked')
    return ({ count }) => ({
      columns: build.cast(build.slice(indices, 2, 0, count), 'int64'),
      layouts: build.sizes(indices, 2)[1] as NonNullable<typeof indices>,
      perBatch: true,
    })
  },
})

/** Blocks of absolute positions that the queries lie in. */
export const blockRows = (
  { start, S }: Pick<AttentionSizes, 'start' | 'S'>,
  { queryBlock }: Pick<BlockAttentionAttributes, 'queryBlock'>,
): number => Math.ceil((start + S) / queryBlock) - Math.floor(start / queryBlock)
