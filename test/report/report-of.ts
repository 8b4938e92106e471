/** Reports of models that don't exist: as many layers as asked for, names as hostile as asked for. */
import type { LayerEntry, ReportData } from '../../src/report/report-data.js'

export interface Asked {
  readonly layers?: number
  readonly heads?: number
  readonly width?: number
  /** Stands for every name and text that comes from a model, its data or its plan. */
  readonly name?: string
}

/** With something in every section. */
export function reportOf({
  layers = 3,
  heads = 8,
  width = 256,
  name = 'model',
}: Asked): ReportData {
  const entries = Array.from({ length: layers }, (_, layer) => layerOf(layer, heads, width, name))
  return {
    ...emptyReport(name),
    quality: [{ metric: 'perplexity', before: 6.7, after: 9.4, samples: 7395 }],
    layers: entries,
    sensitivity: {
      measure: name,
      shares: [0.1, 0.5, 0.9],
      rows: entries.map(({ layer }) => ({
        layer,
        part: 'width',
        losses: [0.1, 0.2 + (layer ?? 0), null],
        reached: 0.5,
        perMillisecond: layer === 0 ? null : 0.2 + (layer ?? 0),
      })),
    },
    frontier: {
      format: 1,
      key: name,
      knee: 0.2,
      points: [0, 0.2, 0.4].map((ratio) => ({
        ratio,
        parameters: 1e6 * (1 - ratio),
        bytes: 4e6 * (1 - ratio),
        flopsPerToken: 2e6 * (1 - ratio),
        metric: 'perplexity',
        value: 6 + 10 * ratio ** 2,
        samples: 100,
        plan: name,
      })),
    },
    training: [
      {
        name,
        updates: 3,
        before: 3,
        best: 2,
        curve: [1, 2, 3].map((update) => ({
          update,
          training: 3 / update,
          heldOut: 3.1 / update,
          sparsity: update / 10,
        })),
      },
    ],
    texts: [{ prompt: name, before: `${name} and then`, after: `${name} or else` }],
    difference: {
      ...emptyReport(name).difference,
      blocks: entries.map(({ layer }) => ({
        layer: layer ?? 0,
        block: 'feedForward',
        before: { width, parameters: 1 },
        after: { width: width / 2, parameters: 1 },
      })),
      inputs: [{ name, before: name, after: name }],
      constants: {
        same: 7,
        changed: entries.flatMap(({ layer }) =>
          Array.from({ length: 9 }, (_, index) => ({
            name: `${name}.${layer}.${index}`,
            change: 'shape' as const,
            before: 'float32 [4096, 14336]',
            after: 'float32 [4096, 7168]',
            bytes: 1,
            layer,
          })),
        ),
      },
    },
    provenance: {
      ...emptyReport(name).provenance,
      passes: [{ name, options: { text: name } }],
      run: [{ name, value: name }],
      targets: [{ target: name, kind: 'params', before: 2, asked: 1, reached: 1, isMet: true }],
      conditions: [{ condition: name, result: 'pass', isMissed: false, message: name }],
      skipped: [{ block: name, layer: 0, reason: name }],
    },
  }
}

/** Nothing but what every report has. */
export function emptyReport(name = 'model'): ReportData {
  const none = { before: null, after: null }
  return {
    format: 1,
    names: { before: name, after: name },
    savings: {
      parameters: { before: 1e6, after: 8e5 },
      diskBytes: { before: 4e6, after: 3.2e6 },
      flopsPerToken: { before: 2e6, after: 1.6e6 },
      cacheBytesPerToken: null,
      timing: null,
    },
    quality: [],
    layers: [],
    sensitivity: null,
    frontier: null,
    training: [],
    texts: [],
    difference: {
      parameters: none,
      bytes: none,
      layers: none,
      blocks: [],
      operators: [],
      inputs: [],
      outputs: [],
      opsets: [],
      metadata: [],
      constants: { same: 0, changed: [] },
    },
    provenance: {
      created: '2026-01-02T03:04:05.000Z',
      by: 'attnc test',
      input: null,
      passes: [],
      machine: [],
      run: [],
      check: null,
      targets: [],
      conditions: [],
      skipped: [],
    },
  }
}

function layerOf(layer: number, heads: number, width: number, name: string): LayerEntry {
  return {
    layer,
    strips: [
      {
        part: 'keyValueHeads',
        size: heads,
        removed: [layer % heads],
        costs: Array.from({ length: heads }, (_, head) => (head === 1 ? null : 0.01 * (head + 1))),
        membersPerUnit: 1,
        queriesPerMember: 1,
      },
      {
        part: 'width',
        size: width,
        removed: Array.from({ length: width / 2 }, (_, index) => (index * 2 + layer) % width),
        costs: null,
        membersPerUnit: 1,
        queriesPerMember: 1,
      },
    ],
    attends: [[name]],
    cacheBytesPerToken: { before: 1024, after: 512 },
    parameters: { before: 1e6, after: 5e5 },
  }
}
