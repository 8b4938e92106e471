/**
 * What a model is made of and what may be removed from it, in the format that `attnc inspect --json`
 * prints (version 1). Sizes are in elements and bytes, FLOPs for one token of a forward pass.
 */
import type { Axis } from '../axes/axis.js'
import { intAttribute, isOpened, type Model, type Node, type Value } from '../graph/graph.js'
import { readModel, type TransformerModel } from '../model/model.js'
import type { ModelDimension } from '../model/model-dimension.js'
import { bitsPerElement } from '../onnx/data-type.js'
import { contentKey } from '../onnx/tensor.js'
import { findImageWindows } from './image-window.js'
import { probeVisibility } from './mask-probe.js'
import { countParameters } from './parameters.js'

/** What a model is made of: what `attnc inspect --json` prints. */
export interface Inspection {
  readonly format: 1
  readonly opset: number
  readonly parameters: number
  readonly bytes: number
  /** Multiply–adds of one token times two, without the products of scores and values. */
  readonly flopsPerToken: number
  /** Bytes that one token takes in the key-value cache; null without a cache. */
  readonly cacheBytesPerToken: number | null
  /** Nodes that hold the model twice, without a cache and going on from one, over the same weights. */
  readonly branches?: readonly string[]
  readonly layers: number
  readonly hidden: number | readonly number[] | null
  readonly vocabulary: number | null
  readonly attention: readonly AttentionEntry[]
  readonly feedForward: readonly FeedForwardEntry[]
  readonly experts: { count: number; perToken: number; layers: readonly number[] } | null
  readonly dimensions: readonly DimensionEntry[]
  readonly unrecognised: readonly ReasonEntry[]
}

interface ReasonEntry {
  readonly node: string
  readonly reason: string
}

interface AttentionEntry {
  readonly layer: number
  readonly kind: 'self' | 'cross'
  /** Over the edges of a graph that end in a token, rather than over all tokens. */
  readonly over?: 'edges'
  readonly causal: boolean
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly valueHeadSize: number
  readonly window?: number
  readonly prunable: boolean
  readonly reasons: readonly ReasonEntry[]
}

interface FeedForwardEntry {
  readonly layer: number
  readonly width: number
  readonly gated: boolean
  readonly experts?: { readonly count: number; readonly perToken: number }
  readonly prunable: boolean
  readonly reasons: readonly ReasonEntry[]
}

interface DimensionEntry {
  readonly id: string
  readonly role: string
  readonly size: number
  readonly sliceable: boolean
  readonly granularity: number
  readonly parametersPerMember: number
  readonly reasons: readonly ReasonEntry[]
}

/** What the model is made of and what may go from it, as plain JSON; who sees whom is found by running its masks. */
export async function inspect(model: Model, signal?: AbortSignal): Promise<Inspection> {
  const view = readModel(model.graph)
  const visibility = await probeVisibility(view, signal)
  const imageWindows = findImageWindows(view.analysis, view.attention)
  const branches = [...model.graph.nodes()].filter(isOpened).map(({ label }) => label)
  return {
    format: 1,
    opset: model.opsets.get('') ?? 0,
    parameters: countParameters(view.analysis),
    bytes: countBytes(model),
    flopsPerToken: countFlops(view),
    cacheBytesPerToken: cacheBytes(view),
    ...(branches.length > 0 ? { branches } : {}),
    layers: view.layers,
    hidden: describeHidden(view.hidden),
    vocabulary: view.vocabulary ?? null,
    attention: view.attention.map((block) => {
      const seen = visibility.get(block)
      const window = seen?.window ?? imageWindows.get(block)
      return {
        layer: block.layer,
        kind: block.kind,
        ...(block.over === 'edges' ? { over: block.over } : {}),
        causal: seen?.causal ?? false,
        heads: block.heads,
        keyValueHeads: block.keyValueHeads,
        headSize: block.headSize,
        valueHeadSize: block.valueHeadSize,
        ...(window ? { window } : {}),
        ...prunability(
          block.dimension,
          block.heads > 1 ? 'each head has weights of its own' : 'has one head, which has to stay',
        ),
      }
    }),
    feedForward: view.feedForward.map((block) => ({
      layer: block.layer,
      width: block.width,
      gated: block.gated,
      ...(block.mixture ? { experts: block.mixture } : {}),
      ...prunability(block.dimension, 'its width is not a dimension of any weight'),
    })),
    experts: describeExperts(view),
    dimensions: view.dimensions.map((each) => ({
      id: each.id,
      role: each.role,
      size: each.size,
      sliceable: each.sliceable,
      granularity: each.granularity,
      parametersPerMember: each.parametersPerMember,
      reasons: reasonsOf(each),
    })),
    unrecognised: view.analysis.unrecognised.map(({ node, reason }) => ({
      node: node.label,
      reason,
    })),
  }
}

/** What the other branch of an If has against it too is said once. */
function reasonsOf({ reasons }: ModelDimension): ReasonEntry[] {
  const first = new Set(reasons.filter(({ isAgain }) => !isAgain).map(({ text }) => text))
  return reasons
    .filter(({ text, isAgain }) => !isAgain || !first.has(text))
    .map(({ node, text }) => ({ node, reason: text }))
}

function prunability(
  dimension: ModelDimension | undefined,
  absent: string,
): { prunable: boolean; reasons: ReasonEntry[] } {
  if (!dimension) return { prunable: false, reasons: [{ node: '', reason: absent }] }
  return { prunable: dimension.sliceable, reasons: reasonsOf(dimension) }
}

/** One width where all streams have it, else each in order. */
function describeHidden(hidden: readonly Axis[]): Inspection['hidden'] {
  const all = hidden.flatMap((axis) => axis.size.value ?? [])
  // Streams of one width beside each other are one stage.
  const sizes = all.filter((size, index) => size !== all[index - 1])
  return sizes.length > 1 ? sizes : (sizes[0] ?? null)
}

function describeExperts(view: TransformerModel): Inspection['experts'] {
  const blocks = view.feedForward.filter((block) => block.mixture)
  const mixture = blocks[0]?.mixture
  if (!mixture) return null
  return { ...mixture, layers: blocks.map(({ layer }) => layer) }
}

export function countBytes(model: Model): number {
  const seen = new Set<unknown>()
  let total = 0
  for (const { constant } of model.graph.values.values()) {
    if (!constant) continue
    const key = contentKey(constant) ?? constant
    if (!seen.has(key)) total += constant.byteLength
    seen.add(key)
  }
  return total
}

/** 2 × columns × rows of every product with a constant, also one that is transposed or dequantised first. */
export function countFlops({ analysis }: TransformerModel): number {
  const sizeOf = (node: Node, value: Value, index: number): number => {
    if (node.op === 'MatMulNBits' || node.op === 'MatMulBnb4')
      return index === 1 ? intAttribute(node, 'N', 0) * intAttribute(node, 'K', 0) : 0
    const dims = analysis.isConstant(value) ? (analysis.shapes.dims(value) ?? []) : []
    if (dims.length < 2) return 0
    return dims.reduce((product, size) => product * (size.value ?? 0), 1)
  }
  let total = 0
  // Of branches that do the same, one runs.
  for (const { node } of analysis.contractions.filter(({ node }) => !node.branch?.isAgain))
    for (const [index, value] of node.inputs.entries())
      if (value) total += 2 * sizeOf(node, value, index)
  return total
}

/** Bytes that one token takes in the cache; null without a cache. */
export function cacheBytes(view: TransformerModel): number | null {
  const total = view.graph.inputs.reduce((sum, input) => sum + cacheBytesOf(input), 0)
  return total === 0 ? null : total
}

/** Bytes of one token in an input that is a part of the cache; 0 for others. */
export function cacheBytesOf({ type }: Value): number {
  const { dims, dataType } = type ?? {}
  const [, heads, tokens, size] = dims ?? []
  if (dims?.length !== 4 || typeof heads !== 'number' || typeof size !== 'number') return 0
  if (!dataType || typeof tokens === 'number') return 0
  return (heads * size * bitsPerElement(dataType)) / 8
}
