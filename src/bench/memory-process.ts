/**
 * The process of which memory.ts measures the memory: it opens one model, runs it, says how much it
 * took at most, and ends. Nothing else runs in it, so nothing else is counted.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probeModel } from '../runtime/provider.js'
import { openSession } from '../runtime/session.js'
import type { MemoryReply, MemoryRequest } from './memory.js'

/** Linux lets a process forget its peak, and keeps the peak of whoever started it out of the count. */
function peakBytes(): number {
  try {
    const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    if (kilobytes) return Number(kilobytes) * 1024
  } catch {
    // Elsewhere the count of the system's own is all there is.
  }
  return process.resourceUsage().maxRSS * 1024
}

function forgetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    // Then the peak before counts too, which is small.
  }
}

async function measure({ path, provider, threads, feeds }: MemoryRequest): Promise<MemoryReply> {
  // A tiny model first: the runtime's code and threads are there before the model's own bytes count.
  const folder = mkdtempSync(join(tmpdir(), 'attnc-memory-'))
  const probe = join(folder, 'probe.onnx')
  writeFileSync(probe, Buffer.from(probeModel, 'base64'))
  try {
    await using _ = await openSession({ path: probe, provider, threads })
    forgetPeak()
    const before = process.memoryUsage.rss()
    await using session = await openSession({ path, provider, threads })
    const openedBytes = peakBytes() - before
    for (let run = 0; run < 2; run++) await session.run(feeds)
    return { openedBytes, peakBytes: peakBytes() - before }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

process.once('message', (request: MemoryRequest) => {
  measure(request)
    .catch((error: unknown): MemoryReply => ({ error: String(error) }))
    .then((reply) => process.send?.(reply, () => process.disconnect()))
    .catch(() => process.exit(1))
})
