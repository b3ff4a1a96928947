#include "emulation/report.h"

#include <cstring>

namespace dc::emulation {

namespace {

constexpr size_t kMostGroups = 12;  // a report stays readable

struct Group {
  const Block* block;
  const Thread* first;
  size_t count;
};

bool same_place(const Thread& a, const Thread& b) {
  return a.block == b.block && a.state == b.state && same_text(a.waits_in, b.waits_in) && same_line(a.place, b.place);
}

}  // namespace

std::string to_text(const Place& place) {
  const char* name = std::strrchr(place.file_name(), '/');
  return std::string(name ? name + 1 : place.file_name()) + ":" + std::to_string(place.line()) + " (" +
         place.function_name() + ")";
}

std::string describe_waiting(const std::vector<Block*>& blocks) {
  std::vector<Group> groups;
  for (const Block* block : blocks) {
    for (const Thread& thread : block->threads) {
      if (thread.state != State::waiting && thread.state != State::spinning) continue;
      size_t i = 0;
      while (i < groups.size() && !same_place(*groups[i].first, thread)) ++i;
      if (i < groups.size())
        ++groups[i].count;
      else
        groups.push_back({block, &thread, 1});
    }
  }
  std::string text;
  for (size_t i = 0; i < groups.size() && i < kMostGroups; ++i) {
    const Group& g = groups[i];
    text += (i ? "; block " : "block ") + to_text(g.block->index) + ": " + std::to_string(g.count) +
            (g.count == 1 ? " thread, " : " threads, first ") + to_text(g.first->index) + ", in " + g.first->waits_in +
            " at " + to_text(g.first->place);
  }
  if (groups.size() > kMostGroups) text += "; and " + std::to_string(groups.size() - kMostGroups) + " more places";
  return text;
}

}  // namespace dc::emulation
