#include "core/machine.h"

#include <unistd.h>

namespace dc {

namespace {
int known(long told, int otherwise) { return told > 0 ? static_cast<int>(told) : otherwise; }
}  // namespace

int l1_ways() {
  static const int ways = known(sysconf(_SC_LEVEL1_DCACHE_ASSOC), 8);
  return ways;
}

int l1_bytes() {
  static const int bytes = known(sysconf(_SC_LEVEL1_DCACHE_SIZE), 32 << 10);
  return bytes;
}

}  // namespace dc
