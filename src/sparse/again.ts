/** The same attention in a branch that goes on from a cache: it follows the same patterns. */
import type { LayeredAttention } from '../model/model-dimension.js'

export const againOf = (block: LayeredAttention): LayeredAttention[] =>
  block.again ? [{ ...block, ...block.again }] : []
