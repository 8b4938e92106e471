import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Sessions of ONNX Runtime take threads and memory of their own: few processes, much patience.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // What commands print is captured by the tests themselves.
    disableConsoleIntercept: true,
    reporters: ['default', './test/plain-reporter.ts'],
  },
})
