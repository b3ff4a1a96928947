// Lanes of a warp that must meet to compute something together. A meeting costs one rendezvous: lanes leave pointers
// to argument and result and suspend, the last to arrive computes for all of them.
#pragma once
#include "emulation/thread.h"

namespace dc::emulation {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

struct Collective {
  const char* name;
  void (*compute)(const Meeting& meeting);
  bool same_place;  // all lanes must execute the same line, as instructions marked .aligned demand
};

// `result` may be null where the collective has none.
void meet_lanes(unsigned mask, const Collective& collective, const void* argument, void* result, const Place& place);

// Called when a thread ends: no lane may wait for it any more.
void lane_ends(const Thread& thread);

}  // namespace dc::emulation
