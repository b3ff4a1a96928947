#include "emulation/shuffle.h"

#include "emulation/observer.h"
#include "emulation/scheduler.h"

namespace dc::emulation {

namespace {

struct ShuffleArgument {
  uint64_t bits;
  int operand;
};

int source_lane(Shuffle kind, int lane, int operand) {
  constexpr int kLanes = static_cast<int>(kWarpSize);
  switch (kind) {
    case Shuffle::index:
      return operand & (kLanes - 1);
    case Shuffle::exclusive_or:
      return lane ^ (operand & (kLanes - 1));
    case Shuffle::up:
      return lane - operand < 0 ? lane : lane - operand;
    case Shuffle::down:
      break;
  }
  return lane + operand >= kLanes ? lane : lane + operand;
}

template <Shuffle kind>
void exchange(const Meeting& meeting) {
  for (unsigned left = meeting.mask; left; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    const int source = source_lane(kind, lane, static_cast<const ShuffleArgument*>(meeting.argument[lane])->operand);
    *static_cast<uint64_t*>(meeting.result[lane]) =
        meeting.mask >> source & 1 ? static_cast<const ShuffleArgument*>(meeting.argument[source])->bits : ~uint64_t{0};
  }
}

void vote(const Meeting& meeting) {
  unsigned votes = 0;
  for (unsigned left = meeting.mask; left; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    votes |= *static_cast<const bool*>(meeting.argument[lane]) ? 1u << lane : 0;
  }
  for (unsigned left = meeting.mask; left; left &= left - 1)
    *static_cast<unsigned*>(meeting.result[__builtin_ctz(left)]) = votes;
}

void synchronise(const Meeting& meeting) {
  if (observer) observer->lanes_synchronised(*current, meeting.mask);
}

// By Shuffle.
constexpr Collective kShuffles[] = {{"shuffle", exchange<Shuffle::index>, false},
                                    {"shuffle_xor", exchange<Shuffle::exclusive_or>, false},
                                    {"shuffle_up", exchange<Shuffle::up>, false},
                                    {"shuffle_down", exchange<Shuffle::down>, false}};
constexpr Collective kBallot = {"ballot", vote, false};
constexpr Collective kSyncWarp = {"sync_warp", synchronise, false};

}  // namespace

uint64_t shuffle_bits(Shuffle kind, unsigned mask, uint64_t bits, int operand, const Place& place) {
  if ((kind == Shuffle::up || kind == Shuffle::down) && (operand < 0 || operand >= static_cast<int>(kWarpSize)))
    fail(std::string(kShuffles[static_cast<int>(kind)].name) + " by " + std::to_string(operand) + " lanes", place);
  const ShuffleArgument argument{bits, operand};
  uint64_t result = 0;
  meet_lanes(mask, kShuffles[static_cast<int>(kind)], &argument, &result, place);
  return result;
}

unsigned ballot_lanes(unsigned mask, bool p, const Place& place) {
  unsigned result = 0;
  meet_lanes(mask, kBallot, &p, &result, place);
  return result;
}

void meet_warp(unsigned mask, const Place& place) {
  // The default names all lanes; a block whose size is no multiple of 32 has fewer in its last warp.
  meet_lanes(mask == kAllLanes ? current->warp->live : mask, kSyncWarp, nullptr, nullptr, place);
}

}  // namespace dc::emulation
