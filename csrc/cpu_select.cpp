#include "cpu_select.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace dc {

namespace scalar {
extern const BackendTable table;
extern const KernelTable<double> table_f64;
}  // namespace scalar
#ifdef DC_X86
namespace avx2 {
extern const BackendTable table;
}
namespace avx512 {
extern const BackendTable table;
}
#endif

namespace {

struct Candidate {
  const BackendTable* table;
  bool supported;
};

// `wanted` null or empty: the best table of this machine.
const BackendTable* choose(const char* wanted) {
#ifdef DC_X86
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const Candidate candidates[] = {{&avx512::table, has_avx512}, {&avx2::table, has_avx2}, {&scalar::table, true}};
#else
  const Candidate candidates[] = {{&scalar::table, true}};
#endif
  if (!wanted || !*wanted) {
    for (const Candidate& c : candidates)
      if (c.supported) return c.table;
  }
  for (const Candidate& c : candidates)
    if (std::strcmp(wanted, c.table->name) == 0) {
      DC_CHECK(c.supported, DeviceError, "instruction set: this machine has no ", wanted, "; it has ", cpu_supported());
      return c.table;
    }
  throw ArgumentError(message("instruction set: expected one of ", cpu_supported(), ", got ", wanted));
}

}  // namespace

namespace {
std::atomic<const BackendTable*> selected{nullptr};
}

const BackendTable& cpu_table() {
  const BackendTable* table = selected.load(std::memory_order_acquire);
  if (!table) {
    table = choose(std::getenv("DEEPCORE_ISA"));
    selected.store(table, std::memory_order_release);
  }
  return *table;
}

void select_cpu_table(const char* isa) { selected.store(choose(isa), std::memory_order_release); }

const KernelTable<double>& cpu_table_f64() { return scalar::table_f64; }

const char* cpu_supported() {
#ifdef DC_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return "avx512 avx2 scalar";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2 scalar";
#endif
  return "scalar";
}

}  // namespace dc
