// The observer of builds with access hooks: races between threads, accesses out of bounds, counts of traffic.
#include <string>

#include "emulation/block_state.h"
#include "emulation/hooks/clocks.h"
#include "emulation/hooks/lint.h"
#include "emulation/hooks/shadow.h"
#include "emulation/observer.h"
#include "emulation/symbols.h"

namespace dc::emulation {

namespace {

// What a report says of one access. Texts are made when the launch has ended, on the stack of the host.
struct Party {
  bool write, atomic;
  unsigned block, thread;
  const void* code;
};

struct Finding {
  bool out_of_bounds;
  MemoryKind kind;
  size_t region_bytes;
  ptrdiff_t offset;
  Party now, before;
};

struct State {
  Clocks clocks;
  RegionMap regions;
  uint64_t launch = 0;
  uint64_t findings = 0;
  Finding first;
};

State& state() {
  static State* const only = new State;  // never destroyed: memory is freed after static objects are
  return *only;
}

std::string text_of(const Party& p) {
  const dc::dim3 &g = grid_in_progress.grid, &n = grid_in_progress.block;
  const uint3 block{p.block % g.x, p.block / g.x % g.y, p.block / g.x / g.y};
  const uint3 thread{p.thread % n.x, p.thread / n.x % n.y, p.thread / n.x / n.y};
  return std::string(p.atomic  ? "atomic access"
                     : p.write ? "write"
                               : "read") +
         " by block " + to_text(block) + " thread " + to_text(thread) + " at " + code_place(p.code);
}

std::string text_of(const Finding& f) {
  const std::string memory = f.kind == MemoryKind::shared ? "shared" : "global";
  if (f.out_of_bounds)
    return "out of bounds: " + text_of(f.now) + ", byte " + std::to_string(f.offset) + " of " +
           std::to_string(f.region_bytes) + " bytes of " + memory + " memory";
  return "race in " + memory + " memory, byte " + std::to_string(f.offset) + " of " + std::to_string(f.region_bytes) +
         ": " + text_of(f.now) + ", not ordered with " + text_of(f.before);
}

void note(const Finding& finding) {
  if (state().findings++ == 0) state().first = finding;
}

Party party(const Stamp& s, bool write) { return {write, s.atomic != 0, s.block, s.thread, s.code}; }

// Keeps the newest read and, of the two before it, one from another warp if there is one: a barrier that is missing
// between warps is then seen whichever of them read last.
void remember_read(Cell& cell, const Stamp& now) {
  Stamp& newest = cell.reads[0];
  const auto same_warp = [&](const Stamp& s) { return s.block == now.block && s.thread / 32 == now.thread / 32; };
  const bool same_thread = newest.block == now.block && newest.thread == now.thread;
  if (newest.code && !same_thread && (!cell.reads[1].code || !same_warp(newest) || same_warp(cell.reads[1])))
    cell.reads[1] = newest;
  newest = now;
}

void access(const void* address, size_t bytes, Access kind, const void* code) {
  if (!current) return;
  State& s = state();
  const auto at = reinterpret_cast<uintptr_t>(address);
  bool outside = false;
  Region* const region = s.regions.find(at, outside);
  if (!region) return;  // a stack, a constant, memory of the host
  const Thread& thread = *current;
  const bool write = kind != Access::read, atomic = kind == Access::atomic;
  Stamp now;
  now.code = code;
  now.block = thread.block->linear;
  now.thread = thread.linear & 1023;
  now.atomic = atomic;
  now.epoch = s.clocks.epoch(thread) & 0x1FFFFF;
  const ptrdiff_t offset = static_cast<ptrdiff_t>(at - region->base);
  if (outside || static_cast<size_t>(offset) + bytes > region->bytes) {
    note({true, region->kind, region->bytes, offset, party(now, write), {}});
    return;
  }
  region->begin(s.launch);
  while (region->granule > 1 && (static_cast<size_t>(offset) | bytes) % region->granule)
    region->refine(region->granule / 2);
  if (counting_traffic() && !atomic && kind != Access::completion)
    count_access(thread, at, bytes, region->kind, write, code);
  const auto conflicts = [&](const Stamp& before) {
    return before.code && !(atomic && before.atomic) &&
           !s.clocks.has_seen(thread, before.block, before.thread, before.epoch);
  };
  bool found = false;
  const size_t first = static_cast<size_t>(offset) / region->granule;
  const size_t last = (static_cast<size_t>(offset) + bytes - 1) / region->granule;
  for (size_t i = first; i <= last; ++i) {
    Cell& cell = region->cells[i];
    const Stamp* before = conflicts(cell.write) ? &cell.write : nullptr;
    if (write && !before)
      for (const Stamp& read : cell.reads)
        if (conflicts(read)) before = &read;
    if (before && !found) {
      found = true;
      note({false, region->kind, region->bytes, static_cast<ptrdiff_t>(i * region->granule), party(now, write),
            party(*before, before == &cell.write)});
    }
    if (write) {
      cell.write = now;
      // An atomic access leaves reads for those that are not: they conflict with it and not with each other.
      if (!atomic) cell.reads[0] = cell.reads[1] = Stamp{};
    } else {
      remember_read(cell, now);
    }
  }
}

const Observer hooks = {
    [](unsigned threads_per_block) {
      State& s = state();
      s.clocks.launch_begins(threads_per_block);
      ++s.launch;
      s.findings = 0;
      if (counting_traffic()) count_launch();
    },
    [] {
      const State& s = state();
      if (s.findings == 0) return std::string();
      const std::string more = s.findings > 1 ? " (and " + std::to_string(s.findings - 1) + " more)" : "";
      return text_of(s.first) + more;
    },
    [](const Block& block) { state().clocks.block_begins(block); },
    [](const Block& block) {
      if (counting_traffic()) close_requests(block);
      state().clocks.block_ends(block);
    },
    [](const Thread&) {},
    [](const Block& block) { state().clocks.block_synchronised(block); },
    [](const Thread& thread, unsigned mask) { state().clocks.lanes_synchronised(thread, mask); },
    [](const Thread& thread, const void* flag) { state().clocks.release(thread, flag); },
    [](const Thread& thread, const void* flag) { state().clocks.acquire(thread, flag); },
    [](const void* base, size_t bytes, MemoryKind kind) { state().regions.add(base, bytes, kind); },
    [](const void* base) { state().regions.remove(base); },
    access,
};

}  // namespace

void install_hooks() { observer = &hooks; }

void observe(const void* address, size_t bytes, bool write, const void* code) {
  if (current) access(address, bytes, write ? Access::write : Access::read, code);
}

}  // namespace dc::emulation
