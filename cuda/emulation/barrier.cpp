#include "emulation/barrier.h"

#include "emulation/observer.h"
#include "emulation/report.h"
#include "emulation/scheduler.h"

namespace dc::emulation {

namespace {

void open(Block& block) {
  Barrier& barrier = block.barrier;
  barrier.result = barrier.votes;
  barrier.votes = {};
  barrier.arrived = 0;
  if (observer) observer->block_synchronised(block);
  Scheduler& s = scheduler();
  s.note_progress();
  for (Thread* thread : barrier.waiting) s.make_ready(thread);
  barrier.waiting.clear();
}

}  // namespace

void block_lost_thread(Block& block) {
  --block.live;
  if (block.live && block.barrier.arrived == block.live) open(block);
}

Votes meet_block(const char* name, bool vote, const Place& place) {
  Block& block = *current->block;
  Barrier& barrier = block.barrier;
  if (barrier.arrived == 0) {
    barrier.name = name;
    barrier.place = place;
  } else if (!same_text(barrier.name, name) || !same_line(barrier.place, place)) {
    fail(std::string(name) + " meets threads of the same block in " + barrier.name + " at " + to_text(barrier.place) +
             ": a barrier must be reached by all threads at the same place",
         place);
  }
  barrier.votes.all &= vote;
  barrier.votes.any |= vote;
  barrier.votes.count += vote;
  if (++barrier.arrived == block.live) {
    open(block);
  } else {
    barrier.waiting.push_back(current);
    scheduler().wait(name, place);
  }
  return barrier.result;
}

}  // namespace dc::emulation
