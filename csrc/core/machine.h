// What kernels ask about the processor they run on.
#pragma once

namespace dc {

// Lines of L1 that share an address modulo 4 KiB (8 where the system does not tell).
int l1_ways();

// Bytes of L1 for data (32 KiB where the system does not tell).
int l1_bytes();

}  // namespace dc
