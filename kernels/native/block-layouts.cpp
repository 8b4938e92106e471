// Layouts come from files and from graphs: they are checked before anything is read by them. Where
// they lie on a device, the kernels there keep within them instead.
#include "block-attention.h"

namespace attnc {

// Rows rise within the columns and reach the last query.
ort::Status* RowsOfBlocks::read(const Call& call, const Tensor* inputs, bool holds_tensors,
                                Problem& p) {
  const Tensor &rows = inputs[0], &columns = inputs[1];
  if (ort::Status* status = call.expect("block_rows", rows, ort::kInt32, "int32", {-1, -1}))
    return status;
  p.L = rows.dims[0];
  if (ort::Status* status = call.expect("block_columns", columns, ort::kInt32, "int32", {p.L, -1}))
    return status;
  if (ort::Status* status = call.check_layouts("block_rows", p.L, p.H, p.K)) return status;
  p.rows = (const int32_t*)rows.data, p.columns = (const int32_t*)columns.data;
  p.row_count = rows.dims[1] - 1, p.width = columns.dims[1];
  const int64_t needed = p.first_row() + p.block_rows();
  if (p.row_count < needed)
    return call.refuse("\"block_rows\" has " + std::to_string(p.row_count) + " rows of " +
                       std::to_string(p.query_block) + " queries; positions up to " +
                       std::to_string(p.start + p.S) + " need " + std::to_string(needed) + ".");
  if (!holds_tensors) return nullptr;
  for (int64_t layout = 0; layout < p.L; layout++) {
    const int32_t* begins = p.rows + layout * (p.row_count + 1);
    int64_t before = 0;
    for (int64_t row = 0; row <= p.row_count; row++) {
      if (begins[row] < before || begins[row] > p.width)
        return call.refuse("\"block_rows\" [" + std::to_string(layout) + ", " +
                           std::to_string(row) + "] is " + std::to_string(begins[row]) +
                           "; expected " + std::to_string(before) + " to " +
                           std::to_string(p.width) + ", rising.");
      before = begins[row];
    }
  }
  return nullptr;
}

// The engine passes over indices that are none of the keys': only the table's size can be wrong.
ort::Status* TableOfBlocks::read(const Call& call, const Tensor* inputs, bool, Problem& p) {
  const Tensor& indices = inputs[0];
  if (ort::Status* status =
          call.expect("block_indices", indices, ort::kInt32, "int32", {p.B, -1, -1, -1}))
    return status;
  p.L = indices.dims[1];
  if (ort::Status* status = call.check_layouts("block_indices", p.L, p.H, p.K)) return status;
  p.columns = (const int32_t*)indices.data;
  p.row_count = indices.dims[2], p.width = indices.dims[3];
  const int64_t needed = p.S == 0 ? 0 : p.block_rows();
  if (p.row_count < needed || p.width < 1)
    return call.refuse("\"block_indices\" is " + indices.shape() + "; expected " +
                       std::to_string(needed) + " or more blocks of " +
                       std::to_string(p.query_block) + " queries, and 1 or more indices.");
  return nullptr;
}

}  // namespace attnc
