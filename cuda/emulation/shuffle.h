// Shuffles, votes and sync_warp.
#pragma once
#include <bit>
#include <cstring>
#include <type_traits>

#include "emulation/collective.h"

namespace dc::emulation {

enum class Shuffle : uint8_t { index, exclusive_or, up, down };

uint64_t shuffle_bits(Shuffle kind, unsigned mask, uint64_t bits, int operand, const Place& place);
unsigned ballot_lanes(unsigned mask, bool p, const Place& place);
void meet_warp(unsigned mask, const Place& place);

template <class T>
T shuffle_value(Shuffle kind, unsigned mask, T v, int operand, const Place& place) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof(T));
  bits = shuffle_bits(kind, mask, bits, operand, place);
  std::memcpy(&v, &bits, sizeof(T));
  return v;
}

}  // namespace dc::emulation

namespace dc {

// A lane that reads from one outside the mask gets 0xFF bytes.
template <class T>
T shuffle(unsigned mask, T v, int lane, const emulation::Place& place = emulation::Place::current()) {
  return emulation::shuffle_value(emulation::Shuffle::index, mask, v, lane, place);
}
template <class T>
T shuffle_xor(unsigned mask, T v, int lanes, const emulation::Place& place = emulation::Place::current()) {
  return emulation::shuffle_value(emulation::Shuffle::exclusive_or, mask, v, lanes, place);
}
// From `lanes` further down, or up; a lane whose partner does not exist keeps its own value.
template <class T>
T shuffle_up(unsigned mask, T v, unsigned lanes, const emulation::Place& place = emulation::Place::current()) {
  return emulation::shuffle_value(emulation::Shuffle::up, mask, v, static_cast<int>(lanes), place);
}
template <class T>
T shuffle_down(unsigned mask, T v, unsigned lanes, const emulation::Place& place = emulation::Place::current()) {
  return emulation::shuffle_value(emulation::Shuffle::down, mask, v, static_cast<int>(lanes), place);
}
inline unsigned ballot(unsigned mask, bool p, const emulation::Place& place = emulation::Place::current()) {
  return emulation::ballot_lanes(mask, p, place);
}
inline int count_bits(unsigned v) { return std::popcount(v); }
inline bool any(unsigned mask, bool p, const emulation::Place& place = emulation::Place::current()) {
  return emulation::ballot_lanes(mask, p, place) != 0;
}
inline bool all(unsigned mask, bool p, const emulation::Place& place = emulation::Place::current()) {
  return emulation::ballot_lanes(mask, p, place) == mask;
}
// The only collective of a warp that orders memory.
inline void sync_warp(unsigned mask = emulation::kAllLanes,
                      const emulation::Place& place = emulation::Place::current()) {
  emulation::meet_warp(mask, place);
}

}  // namespace dc
