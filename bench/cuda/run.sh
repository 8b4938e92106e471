#!/usr/bin/env bash
# All that a machine with a Hopper GPU has to say: build, check, time, sanitize, profile.
# OUT=FOLDER run.sh [build] [check] [operators] [decode] [speed] [sanitize] [profile]; all steps
# without names. `operators` goes through ONNX Runtime: ATTNC_NODE (a Node), ATTNC_RUNTIME
# (libonnxruntime.so.1 with its CUDA provider), ATTNC_NATIVE (attnc's built libraries) and
# ATTNC_OPERATORS (the folder that operators.mts has written); without them it is passed over.
# What fails is told and the rest goes on. Each step has a time limit, so that a kernel that never
# ends costs one step only, and no step begins after ATTNC_SECONDS (290).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:?a folder for what is measured}
steps=${*:-build check operators decode speed sanitize profile}
folder=${ATTNC_BUILD:-/tmp/attnc-cuda}
export ATTNC_CUDA_BENCH=$folder/libattnc_cuda_bench.so
mkdir -p "$out"
began=$SECONDS
limit=${ATTNC_SECONDS:-290}
step() { echo "== $1 ($((SECONDS - began)) s)"; }
left() { echo $((limit - SECONDS + began)); }
wants() { [ "$(left)" -gt 10 ] && case " $steps " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
cd "$here"

if wants build; then
  step build
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.limit --format=csv,noheader
  timeout 170 bash ./build.sh "$folder" || { echo "the build failed"; exit 1; }
fi

if wants check; then
  step check
  timeout -k 5 120 python3 check.py 1,2,3,4 >"$out/check.jsonl" 2>>"$out/errors.txt"
  tail -n 1 "$out/check.jsonl" | cut -c1-300
  grep '"passes": false' "$out/check.jsonl" | head -n 12 | cut -c1-420
fi

if wants operators && [ -n "${ATTNC_OPERATORS:-}" ]; then
  step operators
  timeout -k 5 90 "${ATTNC_NODE:-node}" operators.mjs "$ATTNC_NATIVE/attnc_session.node" "$ATTNC_RUNTIME" \
    "$ATTNC_NATIVE/libattnc_kernels_cuda.so" "$ATTNC_OPERATORS" >"$out/operators.jsonl" 2>>"$out/errors.txt" || echo "exit $?"
  tail -n 1 "$out/operators.jsonl" | cut -c1-300
  grep '"passes":false' "$out/operators.jsonl" | head -n 12 | cut -c1-420
fi

if wants decode; then
  step decode
  timeout -k 5 60 python3 decode.py >"$out/decode.jsonl" 2>>"$out/errors.txt" || echo "exit $?; $(tail -n 2 "$out/errors.txt" | cut -c1-400)"
  cut -c1-160 "$out/decode.jsonl"
fi

if wants speed; then
  step speed
  timeout -k 5 "${ATTNC_SPEED_SECONDS:-120}" python3 speed.py ${ATTNC_SPEED_OPTIONS:-} \
    >"$out/speed.jsonl" 2>>"$out/errors.txt" || echo "exit $?; $(tail -n 2 "$out/errors.txt" | cut -c1-400)"
  python3 - "$out/speed.jsonl" <<'P'
import json, sys
table = {}
for line in map(json.loads, open(sys.argv[1])):
    if "ms" in line:
        table.setdefault((line["layout"], line["S"]), []).append((line["tflops"], line["contender"], line["error"]))
    elif "refused" in line:
        print("refused:", line["layout"], line["S"], line["contender"], line["refused"][:120])
for key, rows in table.items():
    print(*key, " ".join(f"{name}={rate}" + ("" if error is None or error < 0.01 else f"(error {error})") for rate, name, error in sorted(rows, reverse=True)))
P
fi

if wants sanitize; then
  for tool in memcheck racecheck; do
    [ "$(left)" -gt 15 ] || continue
    step "$tool"
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout -k 5 60 compute-sanitizer --tool $tool --target-processes all \
      --kernel-regex kns=attnc python3 check.py 1,2,3,4 --small >"$out/$tool.txt" 2>&1
    grep -E 'SUMMARY|"passed"|=========  ?(Invalid|Error|Program hit)' "$out/$tool.txt" | sort | uniq -c | head -n 8 | cut -c1-200
  done
fi

if wants profile; then
  step profile
  for what in "causal 128 8192" "window 64 16384"; do
    set -- $what
    [ "$(left)" -gt 15 ] || continue
    timeout -k 5 60 ncu --clock-control none -k regex:hopper_attention -c 1 -s 1 \
      --section SpeedOfLight --section WarpStateStats --section SchedulerStats --section SourceCounters \
      --metrics sm__pipe_tensor_op_hmma_cycles_active.avg.pct_of_peak_sustained_active,dram__bytes_read.sum \
      python3 profile_one.py $what >>"$out/profile.txt" 2>&1 || tail -n 3 "$out/profile.txt"
    grep -E 'Duration|SM Frequency|Compute \(SM\) Throughput|tensor|No Eligible' "$out/profile.txt" | tail -n 8
  done
fi

echo "== done ($((SECONDS - began)) s)"
