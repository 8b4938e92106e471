/** Whether a pruned model takes a batch of the dense one: a filled cache has members that went. */
import type { Model } from '../graph/graph.js'
import type { Batch } from './batch.js'
import { portsOf } from './open-data.js'

export const fitsInto = (model: Model, { feeds }: Batch): boolean =>
  portsOf(model).every(({ name, dims }) => {
    const fed = feeds[name]
    if (!fed || fed.data.length === 0) return true
    return dims.every((dim, axis) => typeof dim !== 'number' || dim === fed.dims[axis])
  })
