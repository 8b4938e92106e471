#!/usr/bin/env bash
# All that a machine with a Hopper GPU has to say: build, check, sanitize, time, profile.
# OUT=FOLDER run.sh [build] [check] [speed] [decode] [profile] [sanitize]; all steps without names.
# What fails is told and the rest goes on. Each step has a time limit, so that a kernel that never
# ends costs one step only, and no step begins after ATTNC_SECONDS (290).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:?a folder for what is measured}
steps=${*:-build check speed decode sanitize profile}
folder=${ATTNC_BUILD:-/tmp/attnc-cuda}
export ATTNC_CUDA_BENCH=$folder/libattnc_cuda_bench.so
mkdir -p "$out"
# Variants that are checked together; a group that fails is not timed.
read -ra groups <<<"${ATTNC_GROUPS:-0 1 2,3 4,5}"
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
  cp "$folder"/*.log "$out"/ 2>/dev/null
fi

good=()
if wants check; then
  for paths in 100,101 "${groups[@]}"; do
    step "check $paths"
    timeout -k 5 75 python3 check.py "$paths" >"$out/check-$paths.jsonl" 2>"$out/check-$paths.err"
    code=$?
    tail -n 1 "$out/check-$paths.jsonl" | cut -c1-300
    grep '"passes": false' "$out/check-$paths.jsonl" | head -n 4 | cut -c1-420
    [ $code = 0 ] || { echo "exit $code"; tail -n 3 "$out/check-$paths.err" | cut -c1-300; }
    [ $code = 0 ] && [[ $paths != 100* ]] && good+=("$paths")
  done
else
  good=("${groups[@]}")
fi
list=$(IFS=,; echo "${good[*]:-}")
echo "variants that are timed: ${list:-none}"

if wants speed && [ -n "$list" ]; then
  step speed
  timeout -k 5 "${ATTNC_SPEED_SECONDS:-240}" python3 speed.py --variants "$list" ${ATTNC_SPEED_OPTIONS:-} \
    >"$out/speed.jsonl" 2>"$out/speed.err" || echo "exit $?; $(tail -n 2 "$out/speed.err" | cut -c1-400)"
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

if wants decode; then
  step decode
  timeout -k 5 60 python3 decode.py >"$out/decode.jsonl" 2>"$out/decode.err" || echo "exit $?; $(tail -n 2 "$out/decode.err" | cut -c1-400)"
  cut -c1-160 "$out/decode.jsonl"
fi

if wants sanitize; then
  for paths in 100,101 "${list%%,*}"; do
    [ -n "$paths" ] || continue
    for tool in memcheck racecheck; do
      [ "$(left)" -gt 15 ] || continue
      step "$tool $paths"
      PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout -k 5 45 compute-sanitizer --tool $tool \
        --kernel-regex kns=attnc python3 check.py "$paths" --small >"$out/$tool-$paths.txt" 2>&1
      tail -n 2 "$out/$tool-$paths.txt" | cut -c1-200
    done
  done
fi
if wants profile && [ -n "$list" ]; then
  step profile
  best=$(python3 - "$out/speed.jsonl" "${good[0]%%,*}" <<'P'
import json, sys
try:
    lines = [json.loads(x) for x in open(sys.argv[1])]
    rates = [(x["tflops"], x["contender"].split("-")[1]) for x in lines if x.get("layout") == "causal" and "ms" in x and x["contender"].startswith("attnc")]
    print(max(rates)[1])
except Exception:
    print(sys.argv[2])
P
)
  echo "profiled: variant $best"
  for what in "causal 128 8192" "window 64 16384"; do
    set -- $what
    [ "$(left)" -gt 15 ] || continue
    timeout -k 5 60 ncu --clock-control none -k regex:hopper_attention -c 1 -s 1 \
      --section SpeedOfLight --section WarpStateStats --section SchedulerStats \
      --section ComputeWorkloadAnalysis --section MemoryWorkloadAnalysis --section InstructionStats \
      --section SourceCounters --metrics sm__inst_executed_pipe_tensor.sum,sm__pipe_tensor_op_hmma_cycles_active.avg.pct_of_peak_sustained_active,lts__t_sectors_op_read.sum,dram__bytes_read.sum,smsp__cycles_active.avg \
      -o "$out/ncu-$1-$2" -f python3 profile_one.py "$best" $what >"$out/ncu-$1-$2.log" 2>&1 || tail -n 3 "$out/ncu-$1-$2.log"
    ncu -i "$out/ncu-$1-$2.ncu-rep" --page details >"$out/ncu-$1-$2.txt" 2>/dev/null
    ncu -i "$out/ncu-$1-$2.ncu-rep" --page source --print-source sass --csv >"$out/ncu-$1-$2-source.csv" 2>/dev/null
    grep -E 'Duration|SM Frequency|Compute \(SM\) Throughput|tensor|Issued Warp|No Eligible|Registers Per' "$out/ncu-$1-$2.txt" | head -n 12
  done
  rm -f "$out"/*.ncu-rep
fi

echo "== done ($((SECONDS - began)) s)"
