#include "emulation/collective.h"

#include <cstdio>

#include "emulation/report.h"
#include "emulation/scheduler.h"

namespace dc::emulation {

namespace {

std::string hexadecimal(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

// The error of a lane that finds others of its warp in a meeting it does not fit into; empty if it does.
std::string mismatch(const Meeting& meeting, const Collective& collective, const Place& place) {
  if (!same_text(meeting.name, collective.name))
    return std::string(collective.name) + " meets lanes of the same warp in " + meeting.name + " at " +
           to_text(meeting.place);
  if (collective.same_place && !same_line(meeting.place, place))
    return std::string(collective.name) + " meets lanes of the same warp in another one at " + to_text(meeting.place);
  return {};
}

// The meeting of exactly these lanes that has begun, or the first free one. Groups of lanes may wait in meetings of
// their own, and lanes that have left theirs wait for them in one of both groups.
unsigned slot_of(const Warp& warp, unsigned mask) {
  for (unsigned left = warp.in_meetings; left; left &= left - 1) {
    const unsigned slot = static_cast<unsigned>(__builtin_ctz(left));
    if (warp.meetings[slot].mask == mask) return slot;
  }
  return static_cast<unsigned>(__builtin_ctz(~warp.in_meetings));
}

}  // namespace

void meet_lanes(unsigned mask, const Collective& collective, const void* argument, void* result, const Place& place) {
  Thread* const self = current;
  Warp& warp = *self->warp;
  if (!(mask >> self->lane & 1))
    fail(std::string(collective.name) + ": mask " + hexadecimal(mask) + " does not name the calling lane " +
             std::to_string(self->lane),
         place);
  if (mask & ~warp.live)
    fail(std::string(collective.name) + ": mask " + hexadecimal(mask) + " names lanes that have ended or never were (" +
             hexadecimal(mask & ~warp.live) + ")",
         place);
  const unsigned slot = slot_of(warp, mask);
  Meeting& meeting = warp.meetings[slot];
  if (!(warp.in_meetings >> slot & 1)) {
    warp.in_meetings |= 1u << slot;
    meeting.name = collective.name;
    meeting.mask = mask;
    meeting.place = place;
    meeting.arrived = 0;
  } else if (const std::string error = mismatch(meeting, collective, place); !error.empty()) {
    fail(error, place);
  }
  meeting.argument[self->lane] = argument;
  meeting.result[self->lane] = result;
  meeting.arrived |= 1u << self->lane;
  Scheduler& s = scheduler();
  if (meeting.arrived != mask) {
    s.wait(collective.name, place);
    return;
  }
  warp.in_meetings &= ~(1u << slot);
  collective.compute(meeting);
  s.note_progress();
  for (unsigned left = mask & ~(1u << self->lane); left; left &= left - 1)
    s.make_ready(warp.threads[__builtin_ctz(left)]);
}

void lane_ends(const Thread& thread) {
  const Warp& warp = *thread.warp;
  for (unsigned left = warp.in_meetings; left; left &= left - 1) {
    const Meeting& meeting = warp.meetings[__builtin_ctz(left)];
    if (meeting.mask >> thread.lane & 1)
      scheduler().fail("block " + to_text(thread.block->index) + " thread " + to_text(thread.index) +
                       " ends while lanes of its warp wait for it in " + meeting.name + " at " +
                       to_text(meeting.place));
  }
}

}  // namespace dc::emulation
