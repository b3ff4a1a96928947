// Stable order of the rows of (rows, n). Numbers become unsigned integers in their order (-0 equals 0, every NaN equals
// the largest), joined with their positions: no two items are equal, so the result does not depend on how they are
// compared. Rows of up to a chunk (32 KB of items) are sorted by one block in shared memory, by Batcher's bitonic
// network, whose steps of less than 32 places stay in the registers of a warp; short rows share a block. Longer rows
// are sorted by chunks and merged, two runs into one by each pass: every block finds the parts of both runs that make
// its tile (merge path; Green, McColl and Bader, 2012), every thread those that make its few items. The first k of a
// long row: the first k of each chunk, then those of what is left. Bound: sorting chunks, shared memory; merging, 2
// items an element and pass, log2(n / chunk) passes.
#include "families/families.h"
#include "families/pack.cuh"
#include "families/sort.h"
#include "families/walk.cuh"
#include "runtime/run.h"

namespace dc::cuda {

namespace {

// float64 needs 64 bits of key.
struct alignas(16) WideItem {
  unsigned long long key;
  unsigned long long at;
};
DC_DEVICE bool before(Item a, Item b) { return a < b; }
DC_DEVICE bool before(const WideItem& a, const WideItem& b) { return a.key < b.key || (a.key == b.key && a.at < b.at); }
DC_DEVICE unsigned position(Item a) { return static_cast<unsigned>(a); }
DC_DEVICE unsigned position(const WideItem& a) { return static_cast<unsigned>(a.at); }

DC_DEVICE unsigned long long bits_of(double x) {
  unsigned long long bits;
  ::memcpy(&bits, &x, sizeof bits);
  return bits;
}
DC_DEVICE unsigned bits_of(float x) { return float_bits(x); }

// Unsigned integers in the order of the numbers.
template <class Bits, class T>
DC_DEVICE Bits key_of(T x, bool descending) {
  constexpr Bits top = Bits(1) << (sizeof(Bits) * 8 - 1);
  Bits bits = bits_of(x == T(0) ? T(0) : x);
  bits = bits & top ? ~bits : bits | top;
  if (x != x) bits = ~Bits(0);
  return descending ? ~bits : bits;
}

template <class T>
struct ItemOf;
template <>
struct ItemOf<float> {
  using Type = Item;
  static DC_DEVICE Item make(float x, unsigned at, bool descending) {
    return static_cast<Item>(key_of<unsigned>(x, descending)) << 32 | at;
  }
  static DC_DEVICE Item last() { return ~0ull; }
};
template <>
struct ItemOf<double> {
  using Type = WideItem;
  static DC_DEVICE WideItem make(double x, unsigned at, bool descending) {
    return {key_of<unsigned long long>(x, descending), at};
  }
  static DC_DEVICE WideItem last() { return {~0ull, ~0ull}; }
};

constexpr int kChunkBytes = 32 << 10, kChunkThreads = 512;
template <class T>
constexpr int64_t kChunk = kChunkBytes / sizeof(typename ItemOf<T>::Type);

// Where the sorted items of a row go: as items, or as values and positions of x, either of which may be null.
template <class T>
struct Target {
  typename ItemOf<T>::Type* items;
  T* values;
  int64_t* index;

  // `row`: where the row of the item begins in x.
  DC_DEVICE void put(long long at, const typename ItemOf<T>::Type& item, const T* x, long long row) const {
    if (items) {
      items[at] = item;
      return;
    }
    if (index) index[at] = position(item);
    if (values) values[at] = x[row + position(item)];
  }
};

// Chunk c of row r: elements [c chunk, (c + 1) chunk) of x[r] or of from[r], rows of n; the first `keep` of them go to
// row r of the target, rows of `width`, from c keep on.
template <class T>
struct Chunks {
  const T* x;                            // rows of `row`
  const typename ItemOf<T>::Type* from;  // if not null, rows of n
  Target<T> to;
  long long row, n, width, keep, all;  // all: chunks of all rows
  Divisor by_chunks;                   // of a row
  int log_chunk, together;             // chunks that a block takes at once
  bool descending;
};

DC_DEVICE Item exchanged(Item a, int lanes) { return shuffle_xor(kFullMask, a, lanes); }
DC_DEVICE WideItem exchanged(const WideItem& a, int lanes) {
  return {shuffle_xor(kFullMask, a.key, lanes), shuffle_xor(kFullMask, a.at, lanes)};
}
// The steps of the network from `distance` < 32 on, for item `place` of its chunk: in one run, one item per lane.
// Runs alternate in direction inside a chunk; the last one, the chunk itself, ascends.
template <class Entry>
DC_DEVICE Entry merge_in_warp(Entry item, int place, int run, int distance) {
  const bool ascends = (place & run) == 0;
  for (; distance > 0; distance /= 2) {
    const Entry other = exchanged(item, distance);
    const bool smaller = ((place & distance) == 0) == ascends;
    if (before(other, item) == smaller) item = other;
  }
  return item;
}

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(512, 2) sort_chunks(Chunks<T> s) {
  using Entry = typename ItemOf<T>::Type;
  DC_DYNAMIC_SHARED(memory);
  Entry* items = reinterpret_cast<Entry*>(memory);
  const int chunk = 1 << s.log_chunk, size = s.together << s.log_chunk, padded = (size + 31) / 32 * 32;
  const int t = static_cast<int>(thread_index().x), threads = static_cast<int>(block_size().x);
  for (long long first = static_cast<long long>(block_index().x) * s.together; first < s.all;
       first += static_cast<long long>(grid_size().x) * s.together) {
    // Runs of up to 32 inside a warp's registers, as the short distances of longer ones.
    for (int e = t; e < padded; e += threads) {
      long long row = first + (e >> s.log_chunk);
      const bool exists = e < size && row < s.all;
      const long long at = s.by_chunks.peel(row) * chunk + (e & (chunk - 1));
      Entry item = ItemOf<T>::last();
      if (exists && at < s.n)
        item = s.from ? s.from[row * s.n + at]
                      : ItemOf<T>::make(s.x[row * s.row + at], static_cast<unsigned>(at), s.descending);
      for (int run = 2; run <= 32 && run <= chunk; run *= 2) item = merge_in_warp(item, e & (chunk - 1), run, run / 2);
      if (e < size) items[e] = item;
    }
    sync_block();
    for (int run = 64; run <= chunk; run *= 2) {
      for (int distance = run / 2; distance >= 32; distance /= 2) {
        for (int pair = t; pair < size / 2; pair += threads) {
          const int low = 2 * pair - (pair & (distance - 1)), high = low + distance;
          const bool ascends = (low & (chunk - 1) & run) == 0;
          const Entry a = items[low], b = items[high];
          if (before(b, a) == ascends) items[low] = b, items[high] = a;
        }
        sync_block();
      }
      for (int e = t; e < size; e += threads) items[e] = merge_in_warp(items[e], e & (chunk - 1), run, 16);
      sync_block();
    }
    for (int e = t; e < size; e += threads) {
      long long row = first + (e >> s.log_chunk);
      const bool exists = row < s.all;
      const long long c = s.by_chunks.peel(row), place = e & (chunk - 1), at = c * s.keep + place;
      if (exists && place < s.keep && at < s.width) s.to.put(row * s.width + at, items[e], s.x, row * s.row);
    }
    sync_block();
  }
}

// An odd number of 8-byte items per thread spreads them over the banks of shared memory.
constexpr int kMergeThreads = 256, kEach = 7, kTile = kMergeThreads * kEach;

// How many of the first `count` items of the merged runs come from a. All lanes of the warp ask the same.
template <class Entry>
DC_DEVICE long long merge_path(const Entry* a, long long a_size, const Entry* b, long long b_size, long long count) {
  long long low = count > b_size ? count - b_size : 0, high = count < a_size ? count : a_size;
  while (low < high) {
    const long long step = (high - low + 31) / 32, probe = low + lane() * step + step - 1;
    const bool below = probe < high && before(a[probe], b[count - 1 - probe]);
    const int passed = count_bits(ballot(kFullMask, below));
    low += passed * step;
    high = low + step - 1 < high ? low + step - 1 : high;
  }
  return low;
}

template <class T>
struct Merge {
  const T* x;
  const typename ItemOf<T>::Type* from;
  Target<T> to;
  long long n, run, width, tasks;  // width: items that are wanted of each row
  Divisor by_tiles, by_pairs;      // tiles of a pair of runs, pairs of a row
};

template <class T>
DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4) merge_runs(Merge<T> s) {
  using Entry = typename ItemOf<T>::Type;
  DC_SHARED(Entry[kTile], items);
  DC_SHARED(long long[2], split);
  const int t = static_cast<int>(thread_index().x);
  for (long long task = block_index().x; task < s.tasks; task += grid_size().x) {
    long long row = task;
    const long long tile = s.by_tiles.peel(row) * kTile, begin = s.by_pairs.peel(row) * 2 * s.run;
    const Entry* a = s.from + row * s.n + begin;
    const long long left = s.n - begin, a_size = left < s.run ? left : s.run;
    const long long b_size = left - a_size < s.run ? left - a_size : s.run, all = a_size + b_size;
    const Entry* b = a + a_size;
    const long long tile_end = tile + kTile < all ? tile + kTile : all;
    const bool wanted = tile < all && begin + tile < s.width;
    if (wanted && warp() < 2) {
      const long long from_a = merge_path(a, a_size, b, b_size, warp() == 0 ? tile : tile_end);
      if (lane() == 0) split[warp()] = from_a;
    }
    sync_block();
    const long long a_first = wanted ? split[0] : 0, b_first = wanted ? tile - a_first : 0;
    const int a_count = wanted ? static_cast<int>(split[1] - a_first) : 0;
    const int count = wanted ? static_cast<int>(tile_end - tile) : 0, b_count = count - a_count;
    for (int e = t; e < count; e += kMergeThreads) items[e] = e < a_count ? a[a_first + e] : b[b_first + e - a_count];
    sync_block();
    const int mine = t * kEach < count ? t * kEach : count;
    int low = mine > b_count ? mine - b_count : 0, high = mine < a_count ? mine : a_count;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (before(items[middle], items[a_count + mine - 1 - middle]))
        low = middle + 1;
      else
        high = middle;
    }
    int i = low, j = a_count + mine - low;
    Entry merged[kEach];
    DC_UNROLL
    for (int e = 0; e < kEach; ++e) {
      if (mine + e < count) {
        const bool from_a = j >= count || (i < a_count && before(items[i], items[j]));
        merged[e] = items[from_a ? i : j];
        from_a ? ++i : ++j;
      }
    }
    sync_block();
    DC_UNROLL
    for (int e = 0; e < kEach; ++e)
      if (mine + e < count) items[mine + e] = merged[e];
    sync_block();
    for (int e = t; e < count; e += kMergeThreads)
      if (begin + tile + e < s.width) s.to.put(row * s.width + begin + tile + e, items[e], s.x, row * s.n);
    sync_block();
  }
}

DC_KERNEL void DC_LAUNCH_BOUNDS(256, 4)
    find_starts_kernel(const Item* items, unsigned* start, long long n, Divisor by_keys, long long all) {
  for (long long i = first_index(256); i < all; i += grid_step(256)) {
    long long row = i;
    const Item key = static_cast<Item>(by_keys.peel(row)) << 32;
    const Item* of_row = items + row * n;
    long long low = 0, high = n;
    while (low < high) {
      const long long middle = (low + high) / 2;
      if (of_row[middle] < key)
        low = middle + 1;
      else
        high = middle;
    }
    start[i] = static_cast<unsigned>(low);
  }
}

template <class T>
void run_chunks(const char* op, Context& context, Chunks<T> s, int64_t rows, int64_t chunks) {
  s.by_chunks = Divisor(chunks);
  s.all = rows * chunks;
  // Short rows share a block of up to 512 items.
  const int64_t most = s.log_chunk < 9 ? 512 >> s.log_chunk : 1;
  s.together = static_cast<int>(s.all < most ? s.all : most);
  const int pairs = (s.together << s.log_chunk) / 2;
  const int threads = pairs >= kChunkThreads ? kChunkThreads : (pairs + 31) / 32 * 32;
  run(op, context, sort_chunks<T>, dim3(blocks_for(s.all, s.together)), dim3(static_cast<unsigned>(threads)),
      (static_cast<size_t>(s.together) << s.log_chunk) * sizeof(typename ItemOf<T>::Type), s);
}

int log_of_chunk(int64_t n, int64_t most) {
  int log = 1;
  while ((int64_t{1} << log) < n && (int64_t{1} << log) < most) ++log;
  return log;
}

// Sorts rows of n, of x or of s.from, longer than a chunk: the last pass writes `last`, `width` items of a row.
// The two buffers have rows * n items each; returns which of them has the result where `last` is null.
template <class T>
typename ItemOf<T>::Type* sort_long(const char* op, Context& context, const T* x, const typename ItemOf<T>::Type* from,
                                    int64_t rows, int64_t n, bool descending, typename ItemOf<T>::Type* items,
                                    typename ItemOf<T>::Type* other, const Target<T>* last, int64_t width) {
  Chunks<T> s{};
  s.x = x, s.from = from, s.to.items = items;
  s.row = s.n = s.width = n, s.keep = kChunk<T>;
  s.log_chunk = log_of_chunk(kChunk<T>, kChunk<T>), s.descending = descending;
  run_chunks(op, context, s, rows, (n + kChunk<T> - 1) / kChunk<T>);
  for (int64_t length = kChunk<T>; length < n; length *= 2) {
    const bool final = last && 2 * length >= n;
    const int64_t pairs = (n + 2 * length - 1) / (2 * length), tiles = (2 * length + kTile - 1) / kTile;
    Merge<T> m{};
    m.x = x, m.from = items, m.n = n, m.run = length, m.width = final ? width : n;
    if (final)
      m.to = *last;
    else
      m.to.items = other;
    m.by_tiles = Divisor(tiles), m.by_pairs = Divisor(pairs), m.tasks = rows * pairs * tiles;
    run(op, context, merge_runs<T>, dim3(blocks_for(m.tasks, 1)), dim3(kMergeThreads), 0, m);
    auto* swap = items;
    items = other;
    other = swap;
  }
  return items;
}

}  // namespace

Item* sort_items(const char* op, Context& context, int64_t rows, int64_t n, Item* items, Item* other) {
  if (rows == 0 || n < 2) return items;
  if (n > kChunk<float>) return sort_long<float>(op, context, nullptr, items, rows, n, false, other, items, nullptr, n);
  Chunks<float> s{};
  s.from = items, s.to.items = other;
  s.row = s.n = s.width = s.keep = n;
  s.log_chunk = log_of_chunk(n, kChunk<float>);
  run_chunks(op, context, s, rows, 1);
  return other;
}

void find_starts(const char* op, Context& context, int64_t rows, int64_t n, int64_t keys, const Item* items,
                 unsigned* start) {
  const int64_t all = rows * (keys + 1);
  run(op, context, find_starts_kernel, dim3(blocks_for(all, 256)), dim3(256), 0, items, start, n, Divisor(keys + 1),
      all);
}

template <class T>
void top_k_rows(int64_t rows, int64_t n, int64_t k, bool descending, const T* x, T* values, int64_t* index,
                Context& context) {
  using Entry = typename ItemOf<T>::Type;
  const char* op = "top_k";
  if (rows == 0 || n == 0 || k == 0) return;
  const Target<T> target{nullptr, values, index};
  constexpr int64_t chunk = kChunk<T>;
  if (n > chunk && k > chunk / 4) {
    const Scratch memory(op, context, static_cast<size_t>(2 * rows * n) * sizeof(Entry));
    Entry* items = memory.as<Entry>();
    sort_long<T>(op, context, x, nullptr, rows, n, descending, items, items + rows * n, &target, k);
    return;
  }
  Chunks<T> s{};
  s.x = x, s.row = s.n = n, s.keep = k, s.descending = descending;
  // The first k of each chunk, until one chunk is left: a quarter of what there was, or less, each time.
  const int64_t candidates = n > chunk ? (n + chunk - 1) / chunk * k : 0;
  const Scratch memory(op, context, static_cast<size_t>(2 * rows * candidates + 1) * sizeof(Entry));
  Entry *best = memory.as<Entry>(), *other = best + rows * candidates;
  s.log_chunk = log_of_chunk(chunk, chunk);
  while (s.n > chunk) {
    const int64_t chunks = (s.n + chunk - 1) / chunk;
    s.to.items = best, s.width = chunks * k;
    run_chunks(op, context, s, rows, chunks);
    s.from = best, s.n = s.width;
    best = other;
    other = const_cast<Entry*>(s.from);
  }
  s.to = target, s.width = k;
  s.log_chunk = log_of_chunk(s.n, chunk);
  run_chunks(op, context, s, rows, 1);
}

template <class T>
void sort_rows(int64_t rows, int64_t n, bool descending, const T* x, T* values, int64_t* index, Context& context) {
  top_k_rows(rows, n, n, descending, x, values, index, context);
}

template void sort_rows<float>(int64_t, int64_t, bool, const float*, float*, int64_t*, Context&);
template void sort_rows<double>(int64_t, int64_t, bool, const double*, double*, int64_t*, Context&);
template void top_k_rows<float>(int64_t, int64_t, int64_t, bool, const float*, float*, int64_t*, Context&);
template void top_k_rows<double>(int64_t, int64_t, int64_t, bool, const double*, double*, int64_t*, Context&);

}  // namespace dc::cuda
