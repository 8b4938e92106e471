/**
 * Inputs of an extended graph that tell real tokens from padding: [batch, sequence], one for each input of
 * tokens, with lengths of its own that no symbol of the model has.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Value } from '../graph/graph.js'
import type { TokenRows } from '../model/block.js'
import { maskNameOf } from '../runtime/batches.js'

export class TokenMasks {
  private readonly masks = new Map<string, Value>()

  constructor(private readonly change: GraphEdit) {}

  /** The mask of the tokens that some rows are, added when first asked for. */
  of(tokens: TokenRows): Value {
    const name = maskNameOf(tokens)
    const mask =
      this.masks.get(name) ??
      this.change.addInput(name, 'float32', [`${name}.batch`, `${name}.sequence`])
    this.masks.set(name, mask)
    return mask
  }
}
