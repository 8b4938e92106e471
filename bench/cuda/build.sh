#!/usr/bin/env bash
# Builds the kernels and all of Hopper's variants for the benchmark: build.sh FOLDER. About a minute.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../kernels/block-attention/cuda
to=$1
mkdir -p "$to"
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
flags=(-std=c++17 -O3 -lineinfo -Xcompiler -fPIC -DATTNC_VARIANTS -gencode=arch=compute_90a,code=sm_90a)

jobs=()
compile() { # SOURCE NAME FLAGS…
  local source=$1 name=$2
  shift 2
  "$nvcc" "${flags[@]}" "$@" -Xptxas -v -c "$source" -o "$to/$name.o" >"$to/$name.log" 2>&1 &
  jobs+=($!)
}
for name in attention plan decode ampere; do compile "$kernels/$name.cu" $name; done
compile "$here/binding.cu" binding
compile "$kernels/hopper.cu" hopper-0 -DATTNC_VARIANT=0
for variant in ${ATTNC_BUILD_VARIANTS:-1 2 3 4 5}; do
  compile "$kernels/hopper.cu" "hopper-$variant" -DATTNC_VARIANT=$variant -DATTNC_ONLY_BENCHED
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
grep -hiE 'error|warning' "$to"/*.log || true
[ $failed = 0 ] || { cat "$to"/*.log | tail -50; exit 1; }
"$nvcc" -shared -cudart static "$to"/*.o -o "$to/libattnc_cuda_bench.so"
