#include "emulation/hooks/lint.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "emulation/symbols.h"
#include "emulation/thread.h"

namespace dc::emulation {

namespace {

constexpr uintptr_t kBanks = 32, kBankBytes = 4, kSectorBytes = 32;

// One instruction of a warp.
struct Request {
  unsigned lanes = 0;
  uintptr_t address[kWarpSize];
};

// The requests of one warp at one instruction that some lanes have made and others may still make.
struct OpenRequests {
  uint64_t closed = 0;  // requests before requests[0]
  uint64_t made[kWarpSize] = {};
  std::deque<Request> requests;
};

struct Site {
  MemoryKind kind = MemoryKind::global;
  bool write = false;
  size_t bytes = 0;  // per lane
  uint64_t requests = 0, actual = 0, ideal = 0;
  std::unordered_map<const Warp*, OpenRequests> open;
};

bool counting = false;
std::unordered_map<const void*, Site>& sites() {
  static auto* const all = new std::unordered_map<const void*, Site>;
  return *all;
}

struct Moved {
  MovedBytes bytes;
  std::unordered_set<uintptr_t> read, written;  // sectors of the launch in progress
};
Moved& moved() {
  static auto* const only = new Moved;
  return *only;
}

// Different values among the first n.
size_t distinct(uintptr_t* values, size_t n) {
  std::sort(values, values + n);
  return static_cast<size_t>(std::unique(values, values + n) - values);
}

// Words that share a bank are read one after the other; equal words at once. A wide access is served in phases of
// lanes that together fill the banks once: 16 lanes of 8 bytes, 8 lanes of 16.
void evaluate_shared(Site& site, const Request& request) {
  const size_t words = std::max<size_t>(site.bytes / kBankBytes, 1), lanes = kWarpSize / words;
  for (size_t first = 0; first < kWarpSize; first += lanes) {
    uintptr_t word[kWarpSize];
    size_t n = 0;
    for (size_t lane = first; lane < first + lanes; ++lane)
      if (request.lanes >> lane & 1)
        for (size_t i = 0; i < words; ++i) word[n++] = request.address[lane] / kBankBytes + i;
    if (n == 0) continue;
    n = distinct(word, n);
    uint64_t per_bank[kBanks] = {};
    for (size_t i = 0; i < n; ++i) ++per_bank[word[i] % kBanks];
    site.actual += *std::max_element(per_bank, per_bank + kBanks);
    ++site.ideal;
  }
}

void evaluate_global(Site& site, const Request& request) {
  uintptr_t sector[2 * kWarpSize], address[kWarpSize];
  size_t n = 0, k = 0;
  for (size_t lane = 0; lane < kWarpSize; ++lane) {
    if (!(request.lanes >> lane & 1)) continue;
    address[k++] = request.address[lane];
    sector[n++] = request.address[lane] / kSectorBytes;
    sector[n++] = (request.address[lane] + site.bytes - 1) / kSectorBytes;
  }
  n = distinct(sector, n);
  site.actual += n;
  Moved& all = moved();
  (site.write ? all.bytes.written : all.bytes.read) += n * kSectorBytes;
  for (size_t i = 0; i < n; ++i)
    if ((site.write ? all.written : all.read).insert(sector[i]).second)
      (site.write ? all.bytes.written_once : all.bytes.read_once) += kSectorBytes;
  // Lanes that read the same element need it once.
  site.ideal += (distinct(address, k) * site.bytes + kSectorBytes - 1) / kSectorBytes;
}

void evaluate(Site& site, const Request& request) {
  ++site.requests;
  if (site.kind == MemoryKind::shared)
    evaluate_shared(site, request);
  else
    evaluate_global(site, request);
}

}  // namespace

void count_traffic(bool on) { counting = on; }
bool counting_traffic() { return counting; }

void count_access(const Thread& thread, uintptr_t address, size_t bytes, MemoryKind kind, bool write,
                  const void* code) {
  Site& site = sites()[code];
  site.kind = kind;
  site.write = write;
  site.bytes = bytes;
  OpenRequests& open = site.open[thread.warp];
  const uint64_t index = open.made[thread.lane]++ - open.closed;
  if (index >= open.requests.size()) open.requests.resize(index + 1);
  Request& request = open.requests[index];
  request.lanes |= 1u << thread.lane;
  request.address[thread.lane] = address;
  while (!open.requests.empty() && open.requests.front().lanes == ~0u) {
    evaluate(site, open.requests.front());
    open.requests.pop_front();
    ++open.closed;
  }
}

void count_launch() {
  Moved& all = moved();
  ++all.bytes.launches;
  all.read.clear();
  all.written.clear();
}

void close_requests(const Block& block) {
  for (auto& [code, site] : sites())
    for (const Warp& warp : block.warps) {
      const auto open = site.open.find(&warp);
      if (open == site.open.end()) continue;
      for (const Request& request : open->second.requests) evaluate(site, request);
      site.open.erase(open);
    }
}

std::vector<LintLine> take_traffic() {
  std::map<std::tuple<std::string, unsigned, MemoryKind, bool>, LintLine> lines;
  for (const auto& [code, site] : sites()) {
    const CodeLine at = code_line(code);
    LintLine& line = lines[{at.file, at.line, site.kind, site.write}];
    line.file = at.file;
    line.function = at.function;
    line.line = at.line;
    line.kind = site.kind;
    line.write = site.write;
    line.requests += site.requests;
    line.actual += site.actual;
    line.ideal += site.ideal;
  }
  sites().clear();
  std::vector<LintLine> out;
  for (auto& [key, line] : lines) out.push_back(std::move(line));
  return out;
}

MovedBytes take_moved_bytes() { return std::exchange(moved().bytes, {}); }

}  // namespace dc::emulation
