// In which order threads run and when asynchronous copies take effect.
//   DEEPCORE_EMULATE_ORDER = forward | reverse | random:SEED     (default forward)
//   DEEPCORE_EMULATE_ASYNC = early | late                        (default late)
// The environment is read once, at the first launch; set_configuration replaces what was read.
#pragma once
#include <cstdint>
#include <string>

namespace dc::emulation {

enum class Order : uint8_t { forward, reverse, random };
// early: a copy acts when it is issued. late: its target is poisoned then, and filled when it is waited for.
enum class Async : uint8_t { early, late };

struct Configuration {
  Order order = Order::forward;
  uint64_t seed = 0;  // of Order::random
  Async async = Async::late;
};

// Fills `out` from the two texts (null or empty = default); returns an error text, empty when both were understood.
std::string parse_configuration(const char* order, const char* async, Configuration& out);
std::string to_text(const Configuration& configuration);

void set_configuration(const Configuration& configuration);
// The configuration in force; an error text when the environment could not be understood.
std::string read_configuration(Configuration& out);

}  // namespace dc::emulation
