/**
 * ONNX Runtime 1.30 reports its use to its makers unless `ORT_DISABLE_TELEMETRY` is set before its
 * library is loaded (microsoft/onnxruntime#27379). attnc sends nothing: it sets the variable, for this
 * process and those it starts, unless the user has set it to something else.
 */
export function keepRuntimeSilent(): void {
  process.env['ORT_DISABLE_TELEMETRY'] ??= '1'
}
