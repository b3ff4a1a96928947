// Philox4x32-10 against the known answers published with Random123 (Salmon et al., 2011).
#include "check.h"
#include "core/philox.h"

using dc::host::philox;
using dc::host::unit_float;

int main() {
  struct Answer {
    uint64_t seed, stream, block;
    uint32_t word[4];
  };
  const uint64_t ones = ~uint64_t{0};
  const Answer answers[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {ones, ones, ones, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Answer& a : answers) {
    const auto block = philox(a.seed, a.stream, a.block);
    for (int i = 0; i < 4; ++i)
      CHECK(block.word[i] == a.word[i], "seed %llx word %d: %08x, expected %08x",
            static_cast<unsigned long long>(a.seed), i, block.word[i], a.word[i]);
  }
  CHECK(unit_float(0) == 0.0f && unit_float(~0u) < 1.0f && unit_float(1u << 31) == 0.5f, "unit_float");
  return check::finish("philox");
}
