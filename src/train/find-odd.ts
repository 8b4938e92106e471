/**
 * Where a step stops being finite: the step once more, with a probe at every value of the forward pass and
 * at every gradient, in the order in which they are made. The first probe that is odd names the place.
 */

import { addGradients } from '../gradients/gradients.js'
import { edit, type GraphEdit } from '../graph/edit.js'
import type { Graph, Model, Node, Value } from '../graph/graph.js'
import { findBlocks } from '../model/block.js'
import { readModel } from '../model/model.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { isFloating } from '../onnx/data-type.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import type { Feeds, Session } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'
import { feedsOf } from './feeds.js'
import { knownOf, prepareLoss } from './loss/step-loss.js'
import { addForward, copyOf, type StepOptions } from './training-graph.js'
import { PARAMETERS } from './weights/insert.js'

export interface OddInput extends StepOptions {
  readonly model: Model
  readonly feeds: Feeds
  readonly parameters: RuntimeTensor
  /** Opened for one run: ONNX Runtime's rewriting would take longer than it saves. */
  readonly open: (model: Model) => Promise<Session>
}

/** One of all places in their order, and what is there. */
interface Place {
  readonly place: number
  readonly name: string
}

interface Probed {
  readonly model: Model
  /** What each number of the output is of. */
  readonly names: readonly Place[]
  readonly output: string
}

/** Places that are looked at at once: a session with a probe at each of thousands takes minutes to open. */
const AT_ONCE = 256

/** Undefined where everything is finite now, or the probes don't fit into memory. */
export async function findOdd(input: OddInput): Promise<string | undefined> {
  // What is odd makes what follows odd: every so many places say between which two it begins.
  const probe = async (
    isLookedAt: (at: number, count: number) => boolean,
  ): Promise<Place | undefined> => {
    const { model, names, output } = buildProbes(input, isLookedAt)
    await using session = await input.open(model)
    const all = { ...input.feeds, [PARAMETERS]: input.parameters }
    const results = await session.run(feedsOf(session, all), [output])
    const at = numbersOf(results[output] as RuntimeTensor).findIndex((each) => each !== 0)
    return at < 0 ? undefined : names[at]
  }
  try {
    const strideOf = (count: number): number => Math.ceil(count / AT_ONCE)
    const coarse = await probe((at, count) => at % strideOf(count) === 0 || at === count - 1)
    if (!coarse) return undefined
    const { place: last, name } = coarse
    const fine = await probe(
      (at, count) => at <= last && at > last - Math.max(AT_ONCE, strideOf(count)),
    )
    return fine?.name ?? name
  } catch {
    // The error that is being explained matters more than one of its explanation.
    return undefined
  }
}

function buildProbes(
  { model, objective, trainable, teacher, precision }: OddInput,
  isLookedAt: (at: number, count: number) => boolean,
): Probed {
  const copy = copyOf(model, objective)
  const { graph } = copy
  const layerOf = layersOf(graph)
  const addLoss = prepareLoss(copy, objective, teacher)
  return edit(graph, 'attnc.odd', (change) => {
    const weights = trainable.weights.map(({ name }) => graph.values.get(name) as Value)
    const readers = weights.map((value) => ({ name: value.name, use: [...value.uses][0] }))
    const b = new NodeBuilder(change, inferShapes(graph))
    const [stepLoss, parameters] = addForward(b, addLoss, { trainable, precision })
    // Where a weight itself is trained, its first reader now reads what was cut from the vector.
    const trained = new Map(readers.map(({ name, use }) => [use?.node.inputs[use.index], name]))
    const gradients: [Value, Value][] = []
    const { loss, walked } = stepLoss
    addGradients(change, walked, [parameters], {
      known: knownOf(stepLoss),
      onGradient: (value, gradient) => gradients.push([value, gradient]),
    })
    const shapes = inferShapes(graph)
    const isProbed = (value: Value): boolean => isFloating(shapes.dataType(value) ?? 'bool')
    const describe = (value: Value): string => {
      if (value.isGraphInput) return `the input "${value.name}"`
      const weight = trained.get(value)
      if (weight !== undefined) return `the weight "${weight}"`
      return place(value, change, layerOf)
    }
    const last = loss.producer as Node
    const nodes = [...graph.nodes()]
    const forward = nodes.slice(0, nodes.indexOf(last) + 1).flatMap(({ outputs }) => outputs)
    const inputs = graph.inputs.filter((value) => value !== parameters)
    const all = [
      ...[...inputs, ...forward].flatMap((value) =>
        value && isProbed(value) ? [{ value, name: describe(value), isGradient: false }] : [],
      ),
      // Some were taken over by the rule that reads them.
      ...gradients
        .filter(([, gradient]) => graph.values.get(gradient.name) === gradient)
        .map(([value, gradient]) => ({
          value: gradient,
          name: `the gradient of ${describe(value)}`,
          isGradient: true,
        })),
    ]
    const probes = all.flatMap((each, place) =>
      isLookedAt(place, all.length) ? [{ ...each, place }] : [],
    )
    const probe = new NodeBuilder(change, shapes)
    const numbers = probes.map(({ value, isGradient }) => {
      const single = probe.cast(value, 'float32')
      // What a mask hides is minus infinity by right.
      const isInfinite = probe.op('IsInf', [single], { detect_negative: Number(isGradient) })
      const isAny = probe.cast(probe.op('Or', [probe.op('IsNaN', [single]), isInfinite]), 'float32')
      return probe.op('Reshape', [probe.op('ReduceMax', [isAny], { keepdims: 0 }), probe.ints(1)])
    })
    const output = probe.op('Concat', numbers, { axis: 0 })
    for (const each of [...graph.outputs]) change.hide(each)
    change.expose(output)
    return {
      model: copy,
      names: probes.map(({ place, name }) => ({ place, name })),
      output: output.name,
    }
  })
}

/** The node that makes a value; of one that attnc wrote, the model's own that it works on. */
function place(value: Value, { label }: GraphEdit, layerOf: (node: Node) => string): string {
  let node = value.producer
  while (node && node.origin === label) {
    const source: Node | undefined = node.inputs.find((each) => each?.producer)?.producer
    if (!source) break
    node = source
  }
  if (!node) return `"${value.name}"`
  const own = node === value.producer ? '' : `${value.producer?.op} behind `
  return `${own}"${node.label}" (${node.op})${layerOf(node)}`
}

/** Which layer a node belongs to, by the streams at the ends of the layers. */
function layersOf(graph: Graph): (node: Node) => string {
  const nodes = [...graph.nodes()]
  const places = new Map(nodes.map((node, index) => [node, index]))
  const ends = findBlocks(readModel(graph)).flatMap(({ layer, stream }) =>
    stream?.producer ? [{ layer, end: places.get(stream.producer) ?? 0 }] : [],
  )
  return (node) => {
    const at = places.get(node)
    const found = at === undefined ? undefined : ends.find(({ end }) => at <= end)
    return found ? ` of layer ${found.layer}` : ''
  }
}
