/**
 * Weights that a file lists among its inputs too, as older exporters and formats do: they are constants with a
 * default that nobody feeds. They become constants alone, so that they can be read and cut. Where only single
 * numbers have a default, a host may well set them: those stay inputs.
 */
import { elementCount } from '../onnx/tensor.js'
import { edit } from './edit.js'
import type { Model } from './graph.js'

/** From this version of the format on, initializers need not be inputs. */
const WEIGHTS_APART = 4

export function fixWeights(model: Model): void {
  const { graph } = model
  const defaults = graph.inputs.filter(({ constant }) => constant !== undefined)
  if (!defaults.some(({ constant }) => elementCount(constant?.dims ?? []) > 1)) return
  edit(graph, 'attnc.weights', (change) => {
    for (const input of defaults) change.fixInput(input)
  })
  model.irVersion = Math.max(model.irVersion, WEIGHTS_APART)
}
