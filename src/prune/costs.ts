/**
 * What targets count, exactly, of a model with parts of a plan carried out. The surprise: the cache is
 * counted in the model of the folder that has one, which need not be the one that is looked at.
 */
import type { CountedCost } from '../bench/cost.js'
import { cacheBytes, cacheBytesOf } from '../inspect/inspect.js'
import { readModel, type TransformerModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { applyPart } from '../plan/apply.js'
import type { PlanPart } from '../plan/plan.js'
import { totalsOf } from './report.js'

/** 0 for a cache that isn't there. */
export type CountedCosts = Readonly<Record<CountedCost, number>>

export interface Subject {
  readonly source: LoadedModel
  /** Only this file of the folder counts. */
  readonly single: boolean
  /** What goes before. */
  readonly parts: readonly PlanPart[]
}

/** A fresh copy with all parts carried out. */
export function cutCopy({ source, parts }: Subject, file: string = source.file): LoadedModel {
  const copy = loadFrom(source.location, file)
  for (const part of parts) applyPart(copy.model.graph, part)
  return copy
}

export function costsOf(subject: Subject, hasCache: boolean): CountedCosts {
  const { model } = cutCopy(subject)
  const view = readModel(model.graph)
  const { parameters, bytes, flopsPerToken } = totalsOf(model, view)
  const cached = hasCache ? cachedView(subject, view) : undefined
  const kv = (cached && cacheBytes(cached)) ?? 0
  return { params: parameters, size: bytes, flops: flopsPerToken, kv }
}

/** Bytes that a member of each dimension takes in the cache for one token. */
export function cacheCosts(subject: Subject): Map<string, number> {
  const view = cachedView(subject, readModel(cutCopy(subject).model.graph))
  const found = new Map<string, number>()
  for (const { id, interface: values, size } of view?.dimensions ?? []) {
    const inputs = values.filter((value) => view?.graph.inputs.includes(value))
    const bytes = inputs.reduce((sum, value) => sum + cacheBytesOf(value), 0)
    if (bytes > 0) found.set(id, bytes / size)
  }
  return found
}

/** The first model of the folder that has a cache. */
function cachedView(subject: Subject, own: TransformerModel): TransformerModel | undefined {
  if (cacheBytes(own) !== null) return own
  const { source, single } = subject
  for (const file of single ? [] : source.location.models) {
    if (file === source.file) continue
    const view = readModel(loadFrom(source.location, file).model.graph)
    if (cacheBytes(view) !== null) return readModel(cutCopy(subject, file).model.graph)
  }
  return undefined
}
