// Stable sorting on a device, for sort and top_k and for everything that adds in the order of positions.
#pragma once
#include <cstdint>

#include "core/context.h"

namespace dc::cuda {

// A key in the upper 32 bits and a position in the lower ones: no two are equal, so every sort of them is stable.
using Item = unsigned long long;

// Sorts each row of (rows, n) items; `other` is as large. Returns where the result lies: `items` or `other`.
Item* sort_items(const char* op, Context& context, int64_t rows, int64_t n, Item* items, Item* other);

// start[row, key] = how many items of a sorted row have a smaller key, for keys 0 .. keys: (rows, keys + 1).
void find_starts(const char* op, Context& context, int64_t rows, int64_t n, int64_t keys, const Item* items,
                 unsigned* start);

// Kernels of the index family; kernels/index.h.
template <class T>
void sort_rows(int64_t rows, int64_t n, bool descending, const T* x, T* values, int64_t* index, Context& context);
template <class T>
void top_k_rows(int64_t rows, int64_t n, int64_t k, bool descending, const T* x, T* values, int64_t* index,
                Context& context);

}  // namespace dc::cuda
