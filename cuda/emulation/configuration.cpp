#include "emulation/configuration.h"

#include <cstdlib>
#include <cstring>
#include <mutex>

namespace dc::emulation {

namespace {

std::mutex configuration_lock;
bool configuration_known = false;
Configuration configuration_in_force;

bool is(const char* text, const char* word) { return std::strcmp(text, word) == 0; }

}  // namespace

std::string parse_configuration(const char* order, const char* async, Configuration& out) {
  Configuration parsed;
  if (order && *order) {
    static constexpr char kRandom[] = "random:";
    char* end = nullptr;
    if (is(order, "forward")) {
      parsed.order = Order::forward;
    } else if (is(order, "reverse")) {
      parsed.order = Order::reverse;
    } else if (std::strncmp(order, kRandom, sizeof kRandom - 1) == 0 && order[sizeof kRandom - 1] >= '0' &&
               order[sizeof kRandom - 1] <= '9') {
      parsed.order = Order::random;
      parsed.seed = std::strtoull(order + sizeof kRandom - 1, &end, 10);
      if (*end) return std::string("DEEPCORE_EMULATE_ORDER: the seed of '") + order + "' is not a number";
    } else {
      return std::string("DEEPCORE_EMULATE_ORDER: expected forward, reverse or random:SEED, got '") + order + "'";
    }
  }
  if (async && *async) {
    if (!is(async, "early") && !is(async, "late"))
      return std::string("DEEPCORE_EMULATE_ASYNC: expected early or late, got '") + async + "'";
    parsed.async = is(async, "early") ? Async::early : Async::late;
  }
  out = parsed;
  return {};
}

std::string to_text(const Configuration& c) {
  const std::string order = c.order == Order::forward   ? "forward"
                            : c.order == Order::reverse ? "reverse"
                                                        : "random:" + std::to_string(c.seed);
  return "order " + order + ", async " + (c.async == Async::early ? "early" : "late");
}

void set_configuration(const Configuration& configuration) {
  const std::lock_guard<std::mutex> hold(configuration_lock);
  configuration_in_force = configuration;
  configuration_known = true;
}

std::string read_configuration(Configuration& out) {
  const std::lock_guard<std::mutex> hold(configuration_lock);
  if (!configuration_known) {
    const std::string error = parse_configuration(std::getenv("DEEPCORE_EMULATE_ORDER"),
                                                  std::getenv("DEEPCORE_EMULATE_ASYNC"), configuration_in_force);
    if (!error.empty()) return error;  // asked again at the next launch, which fails the same way
    configuration_known = true;
  }
  out = configuration_in_force;
  return {};
}

}  // namespace dc::emulation
