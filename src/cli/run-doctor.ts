/** `attnc doctor`: providers with reasons, versions, the machine. Each provider is really run. */

import { statfs } from 'node:fs/promises'
import { availableParallelism, cpus, freemem, tmpdir, totalmem } from 'node:os'
import { AttncError } from '../errors.js'
import { linkCudaLibraries } from '../runtime/cuda-libraries.js'
import { findCudaKernelLibrary, findKernelLibrary, loadAddon } from '../runtime/native/library.js'
import {
  type Availability,
  type ProviderName,
  probeProvider,
  runtimeVersion,
} from '../runtime/provider.js'
import { version } from '../version.js'
import { describeBytes } from './text.js'

export interface Diagnosis {
  readonly providers: Readonly<Record<ProviderName, Availability>>
  /** Operators of attnc's own. */
  readonly kernels: {
    readonly library: string | null
    readonly instructionSet: string | null
    /** The library for sessions on CUDA. */
    readonly cuda: string | null
    readonly reason?: string
  }
  readonly versions: {
    readonly attnc: string
    readonly node: string
    readonly onnxruntime: string
    readonly platform: string
  }
  readonly machine: {
    readonly processor: string
    readonly threads: number
    readonly memoryBytes: number
    readonly freeMemoryBytes: number
    readonly temporaryFolder: string
    readonly freeTemporaryBytes: number
  }
  /** CUDA libraries that were linked just now, and what went wrong. */
  readonly linked: readonly string[]
  readonly problems: readonly string[]
}

export async function diagnose(): Promise<Diagnosis> {
  const problems: string[] = []
  const linked = linkLibraries(problems)
  const [cpu, cuda, webgpu] = await Promise.all([
    probeProvider('cpu'),
    probeProvider('cuda'),
    probeProvider('webgpu'),
  ])
  const disk = await statfs(tmpdir())
  return {
    providers: { cpu, cuda, webgpu },
    kernels: findKernels(),
    versions: {
      attnc: version,
      node: process.version,
      onnxruntime: runtimeVersion(),
      platform: `${process.platform}-${process.arch}`,
    },
    machine: {
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      threads: availableParallelism(),
      memoryBytes: totalmem(),
      freeMemoryBytes: freemem(),
      temporaryFolder: tmpdir(),
      freeTemporaryBytes: disk.bavail * disk.bsize,
    },
    linked,
    problems,
  }
}

function findKernels(): Diagnosis['kernels'] {
  const library = findKernelLibrary()
  const cuda = findCudaKernelLibrary() ?? null
  const addon = loadAddon()
  if (library && !('missing' in addon))
    return { library, instructionSet: addon.instructionSet(library), cuda }
  return {
    library: library ?? null,
    instructionSet: null,
    cuda,
    reason: `${'missing' in addon ? addon.missing : 'not built'}: operators of attnc's own run by the standard ones that their models carry; npm run build:native builds them, with g++ alone`,
  }
}

function linkLibraries(problems: string[]): string[] {
  try {
    return linkCudaLibraries()
  } catch (error) {
    if (!(error instanceof AttncError)) throw error
    problems.push([error.message, ...error.suggestions].join(' '))
    return []
  }
}

export function describeDiagnosis(found: Diagnosis): string[] {
  const { versions, machine, providers, kernels } = found
  return [
    `attnc ${versions.attnc} · node ${versions.node} · onnxruntime ${versions.onnxruntime} · ${versions.platform}`,
    `${machine.processor}, ${machine.threads} threads · ${describeBytes(machine.freeMemoryBytes)} of ${describeBytes(machine.memoryBytes)} memory free`,
    `${describeBytes(machine.freeTemporaryBytes)} free in ${machine.temporaryFolder}, where models are put to run`,
    '',
    ...Object.entries(providers).flatMap(([name, each]) => describeProvider(name, each)),
    ...(kernels.instructionSet
      ? [`✔ kernels: ${kernels.library} (${kernels.instructionSet})`]
      : [`– kernels: ${kernels.reason}`]),
    ...(kernels.cuda ? [`✔ kernels for cuda: ${kernels.cuda}`] : []),
    ...found.linked.map((path) => `Linked ${path}.`),
    ...found.problems,
  ]
}

function describeProvider(name: string, { available, reason, suggestion }: Availability): string[] {
  if (available) return [`✔ ${name}`]
  return [`✖ ${name}: ${reason}`, ...(suggestion ? [`    ${suggestion}`] : [])]
}
