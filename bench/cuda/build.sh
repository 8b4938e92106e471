#!/usr/bin/env bash
# Builds the kernels as a library for Python's ctypes: build.sh FOLDER. About half a minute.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../kernels/block-attention/cuda
to=$1
mkdir -p "$to"
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
flags=(-std=c++17 -O3 -lineinfo -Xcompiler -fPIC -gencode=arch=compute_90a,code=sm_90a -Xptxas -v)

jobs=()
for source in "$kernels"/*.cu "$here"/binding.cu; do
  name=$(basename "$source" .cu)
  "$nvcc" "${flags[@]}" -c "$source" -o "$to/$name.o" >"$to/$name.log" 2>&1 &
  jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
grep -hiE 'error|warning|spill' "$to"/*.log | grep -v ' 0 bytes spill' || true
[ $failed = 0 ] || { cat "$to"/*.log | tail -50; exit 1; }
"$nvcc" -shared -cudart static "$to"/*.o -o "$to/libattnc_cuda_bench.so"
