// Every primitive of cuda/device on fixed inputs, its results in a file: `conformance FILE`. Compiled by nvcc over
// runtime/gpu_cuda.cu and by the C++ compiler over the emulated runtime, it writes two files that must agree bit for
// bit; tools/conformance_arrays.py compares them. Inputs are integers wherever an instruction may round in its own way
// (tensor cores), and results never depend on the order of threads. Only "math/" is compared within stated errors.
//
// FILE: for each array a line `name type count`, then its bytes.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "conformance_kernels.cuh"
#include "runtime/gpu.h"

namespace dc::conformance {

namespace {

using dc::gpu::Direction;

constexpr int kDevice = 0;
void* stream = nullptr;
std::FILE* file = nullptr;
int failures = 0;

dc::Stream queue() { return static_cast<dc::Stream>(stream); }

bool good(const char* what, const dc::Status& status) {
  if (status) return true;
  std::fprintf(stderr, "conformance: %s: %s\n", what, status.error);
  ++failures;
  return false;
}

template <class T>
const char* type_name() {
  if constexpr (std::is_same_v<T, int>) return "i4";
  if constexpr (std::is_same_v<T, unsigned>) return "u4";
  if constexpr (std::is_same_v<T, unsigned long long>) return "u8";
  if constexpr (std::is_same_v<T, float>) return "f4";
  if constexpr (std::is_same_v<T, double>) return "f8";
}

// Memory of the device. What no thread writes stays 0xEE on every device.
template <class T>
class Array {
 public:
  explicit Array(size_t n) : Array(std::vector<T>(), n) {}
  explicit Array(const std::vector<T>& values) : Array(values, values.size()) {}
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { dc::gpu::release(kDevice, stream, data_); }
  T* data() const { return data_; }

  void write(const std::string& name) const {
    std::vector<T> values(size_);
    const size_t bytes = size_ * sizeof(T);
    if (!good(name.c_str(), dc::gpu::copy(kDevice, stream, values.data(), data_, bytes, Direction::to_host))) return;
    if (!good(name.c_str(), dc::gpu::synchronize(kDevice, stream))) return;
    std::fprintf(file, "%s %s %zu\n", name.c_str(), type_name<T>(), size_);
    std::fwrite(values.data(), sizeof(T), size_, file);
  }

 private:
  Array(std::vector<T> values, size_t n) : size_(n) {
    const size_t bytes = n * sizeof(T);
    data_ = static_cast<T*>(dc::gpu::allocate(kDevice, stream, bytes));
    if (values.empty()) {
      values.resize(n);
      std::memset(static_cast<void*>(values.data()), 0xEE, bytes);
    }
    if (!data_ && !good("allocation", {"out of memory"})) return;
    good("input", dc::gpu::copy(kDevice, stream, data_, values.data(), bytes, Direction::to_device));
    good("input", dc::gpu::synchronize(kDevice, stream));  // `values` may go
  }

  size_t size_;
  T* data_ = nullptr;
};

unsigned random_word(uint64_t seed, size_t i) { return dc::philox(seed, 0, i / 4).word[i % 4]; }

std::vector<unsigned> random_words(size_t n, uint64_t seed) {
  std::vector<unsigned> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = random_word(seed, i);
  return values;
}
// In [-0.5, 0.5), exact in float32.
template <class T>
std::vector<T> random_values(size_t n, uint64_t seed) {
  std::vector<T> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<T>(dc::unit_float(random_word(seed, i))) - T(0.5);
  return values;
}

void places() {
  Array<unsigned> out(12 * 96 * 8);
  if (good("places", dc::launch(dc::places, dim3(3, 2, 2), dim3(8, 4, 3), 0, queue(), out.data()))) out.write("places");
}

template <class T>
void shuffles() {
  Array<T> out(dc::kShuffleRows * 32);
  if (good("shuffles", dc::launch(dc::shuffles<T>, 1, 32, 0, queue(), out.data())))
    out.write(std::string("shuffles/") + type_name<T>());
}

void votes() {
  Array<unsigned> warps(3 * 96), blocks(3 * 96);
  if (good("votes", dc::launch(dc::votes, 3, 96, 0, queue(), warps.data(), blocks.data()))) {
    warps.write("votes/warp");
    blocks.write("votes/block");
  }
}

template <class T>
void atomics() {
  Array<T> cells(std::vector<T>(dc::kAtomicCells, T(100))), of_blocks(4 * dc::kAtomicCells);
  const std::string name = type_name<T>();
  if (good("atomics", dc::launch(dc::atomics<T>, 4, 96, 0, queue(), cells.data(), of_blocks.data())) &&
      good("atomics", dc::launch(dc::settle_atomics<T>, 1, 1, 0, queue(), cells.data()))) {
    cells.write("atomics/global/" + name);
    of_blocks.write("atomics/shared/" + name);
  }
}

template <class T>
void baton() {
  Array<T> flag(std::vector<T>(1, T(0)));
  Array<unsigned> data(random_words(64, 1));
  if (good("baton", dc::launch_coop(dc::baton<T>, 16, 64, 0, queue(), flag.data(), data.data(), 8))) {
    flag.write(std::string("flags/turns/") + type_name<T>());
    data.write(std::string("flags/data/") + type_name<T>());
  }
}

void between_blocks() {
  Array<unsigned> x(random_words(16 * 64, 2)), partial(16), count(std::vector<unsigned>(1, 0)), last(1);
  if (good("last block",
           dc::launch(dc::last_block, 16, 64, 0, queue(), x.data(), partial.data(), count.data(), last.data())))
    last.write("flags/last block");
  Array<unsigned> counter(std::vector<unsigned>(1, 0)), sums(2 * 16), rounds(4 * 16);
  for (int again = 0; again < 2; ++again)  // a barrier leaves its counter ready for the next launch
    if (good("grid_sync", dc::launch_coop(dc::sum_of_grid, 16, 64, 0, queue(), x.data(), sums.data(), rounds.data(),
                                          counter.data())))
      rounds.write("grid_sync/launch " + std::to_string(again));
}

void shared_memory() {
  const std::vector<float> values = random_values<float>(45 * 70, 3);
  Array<float> x(values), y(values.size());
  if (good("transpose", dc::launch(dc::transpose, dim3(3, 2), dim3(32, 8), 0, queue(), x.data(), y.data(), 45, 70)))
    y.write("shared/static");
  Array<unsigned> words(random_words(2 * 16384, 4));
  if (good("reverse", dc::launch(dc::reverse_blocks, 2, 256, 65536, queue(), words.data(), 16384)))
    words.write("shared/dynamic, 64 KB");
  Array<unsigned> warps(96);
  if (good("sync_warp", dc::launch(dc::exchange_in_warps, 1, 96, 0, queue(), warps.data())))
    warps.write("shared/sync_warp");
}

template <class V>
void vectors(const char* name) {
  const std::vector<unsigned> words = random_words(77 * sizeof(V) / 4, 5);
  Array<unsigned> from(words), to(words.size());
  const void* const x = from.data();
  void* const y = to.data();
  if (good(name, dc::launch(dc::copy_vectors<V>, 2, 64, 0, queue(), x, y, 77)))
    to.write(std::string("vectors/") + name);
}

void asynchronous_copies() {
  Array<float> x(random_values<float>(4 * 512, 6)), mine(4 * 512), others(4 * 512);
  if (good("cp_async16", dc::launch(dc::copies_of_16, 1, 128, 0, queue(), x.data(), mine.data(), others.data()))) {
    mine.write("cp_async16/own");
    others.write("cp_async16/of others");
  }
  Array<float> small(2 * 128);
  if (good("cp_async4", dc::launch(dc::copies_of_4, 2, 128, 0, queue(), x.data(), small.data(), 201)))
    small.write("cp_async4");
}

void matrices() {
  Array<unsigned> fragments(14 * 32);
  if (good("ldmatrix", dc::launch(dc::fragments, 1, 32, 0, queue(), fragments.data()))) fragments.write("ldmatrix");
  const std::vector<unsigned> words = random_words(4 * 32 * 6, 7);
  for (int junk = 0; junk < 2; ++junk) {
    Array<unsigned> x(words);
    Array<float> bf16(4 * 32 * 4), tf32(4 * 32 * 4);
    if (good("mma", dc::launch(dc::products, 4, 32, 0, queue(), x.data(), bf16.data(), tf32.data(), junk))) {
      if (!junk) bf16.write("mma/bf16");
      tf32.write(junk ? "mma/tf32, lower 13 bits set" : "mma/tf32");
    }
  }
}

void conversions() {
  // Zeros, infinities, NaN, ties, the largest number, denormals, numbers that round up to infinity.
  std::vector<unsigned> words = {0u,          0x80000000u, 0x7F800000u, 0xFF800000u, 0x7FC00000u, 0xFFC00001u,
                                 0x3F808000u, 0x3F818000u, 0x7F7FFFFFu, 0xFF7FFFFFu, 0x00000001u, 0x807FFFFFu,
                                 0x3F801000u, 0x3F803000u, 0x7F7FF000u, 0x7F7F7FFFu, 0x00800000u, 0x00008000u};
  const std::vector<unsigned> more = random_words(1024 - words.size(), 8);
  words.insert(words.end(), more.begin(), more.end());
  Array<unsigned> x(words), out(6 * words.size());
  if (good("conversions", dc::launch(dc::conversions, 4, 256, 0, queue(), x.data(), out.data(), 1024)))
    out.write("conversions");
  Array<float> a(random_values<float>(768, 9)), product(256);
  if (good("multiply", dc::launch(dc::rounded_products<float>, 1, 256, 0, queue(), a.data(), product.data())))
    product.write("multiply_rounded/f4");
  Array<double> b(random_values<double>(768, 10)), product64(256);
  if (good("multiply", dc::launch(dc::rounded_products<double>, 1, 256, 0, queue(), b.data(), product64.data())))
    product64.write("multiply_rounded/f8");
}

void random_numbers() {
  Array<unsigned> words(3 * 256 * 4);
  Array<float> units(3 * 256 * 4);
  if (good("philox", dc::launch(dc::random_numbers, 3, 256, 0, queue(), words.data(), units.data()))) {
    words.write("philox/words");
    units.write("philox/unit_float");
  }
}

template <class T>
void reductions() {
  constexpr bool kInteger = std::is_same_v<T, int>;
  for (const unsigned threads : {256u, 96u}) {
    std::vector<T> values(3 * threads);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = kInteger ? static_cast<T>(random_word(11, i) % 41) - T(20)  // with ties
                           : static_cast<T>(dc::unit_float(random_word(11, i))) - T(0.5);
    if constexpr (!kInteger) values[threads + 70] = values[threads + 37] = static_cast<T>(dc::bits_float(0x7FC00000u));
    Array<T> x(values), out(dc::kReductionRows * 3 * threads);
    Array<int> indices(2 * 3 * threads);
    const std::string name = std::string(type_name<T>()) + ", " + std::to_string(threads) + " threads";
    if (good("reductions",
             dc::launch(dc::reductions<T>, 3, threads, 0, queue(), x.data(), out.data(), indices.data()))) {
      out.write("reductions/" + name);
      indices.write("argmax/" + name);
    }
  }
}

void mathematics() {
  const int n = 1024;
  std::vector<float> values(n);
  for (int i = 0; i < n; ++i) values[size_t(i)] = static_cast<float>(i - n / 2) / 16.0f * (i % 3 ? 1.0f : 0.0625f);
  Array<float> x(values), out(6 * n);
  if (!good("math", dc::launch(dc::mathematics, 4, 256, 0, queue(), x.data(), out.data(), n))) return;
  x.write("math/x");
  out.write("math/results");
}

}  // namespace

int main_of(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "conformance FILE\n"), 2;
  if (const std::string reason = dc::gpu::reason(); !reason.empty())
    return std::fprintf(stderr, "conformance: %s\n", reason.c_str()), 2;
  dc::gpu::select(kDevice);
  stream = dc::gpu::make_stream(kDevice);
  file = std::fopen(argv[1], "wb");
  if (!stream || !file) return std::fprintf(stderr, "conformance: no stream, or cannot write %s\n", argv[1]), 2;
  places();
  shuffles<int>(), shuffles<unsigned>(), shuffles<unsigned long long>(), shuffles<float>(), shuffles<double>();
  votes();
  atomics<int>(), atomics<unsigned>(), atomics<unsigned long long>();
  baton<int>(), baton<unsigned>(), baton<unsigned long long>();
  between_blocks();
  shared_memory();
  vectors<dc::float2>("float2"), vectors<dc::float4>("float4"), vectors<dc::uint2>("uint2");
  vectors<dc::uint4>("uint4"), vectors<dc::double2>("double2");
  asynchronous_copies();
  matrices();
  conversions();
  random_numbers();
  reductions<int>(), reductions<float>(), reductions<double>();
  mathematics();
  const bool written = std::fclose(file) == 0;
  std::printf("conformance: %s, %d failures\n", dc::gpu::emulated() ? "emulated device" : "GPU", failures);
  return failures || !written;
}

}  // namespace dc::conformance

int main(int argc, char** argv) { return dc::conformance::main_of(argc, argv); }
