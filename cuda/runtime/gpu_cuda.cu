// runtime/gpu.h over NVIDIA's CUDA runtime, linked statically: nothing of CUDA is needed to load the module.
#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "core/error.h"
#include "runtime/diagnosis.h"
#include "runtime/gpu.h"

namespace dc::gpu {

namespace {

// After these every call of the process fails: what the device computed is lost.
bool loses_context(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
      return true;
    default:
      return false;
  }
}

Status status_of(cudaError_t error) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // reported here, and not once more by whoever asks next
  const char* text = cudaGetErrorString(error);
  return loses_context(error) ? context_lost(text) : Status{text};
}

Facts find_facts() {
  Facts facts;
  cudaDriverGetVersion(&facts.driver);
  cudaRuntimeGetVersion(&facts.runtime);
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    if (error != cudaErrorNoDevice) facts.start_error = cudaGetErrorString(error);
    return facts;
  }
  for (int i = 0; i < count; ++i) {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, i);
    facts.capabilities.emplace_back(major, minor);
  }
  return facts;
}

struct Found {
  int devices;
  std::string reason;
};
const Found& found() {
  static const Found once = [] {
    const Facts facts = find_facts();
    Found f{static_cast<int>(facts.capabilities.size()), reason_of(facts)};
    if (!f.reason.empty()) f.devices = 0;
    return f;
  }();
  return once;
}

cudaStream_t stream_of(void* s) { return static_cast<cudaStream_t>(s); }

// Memory released while a stream is captured, until its graph is destroyed.
struct Captures {
  std::mutex lock;
  std::map<void*, std::vector<void*>> kept;
  std::set<void*> plain;  // of cudaMalloc, not of a pool: allocated while a stream was captured
};
Captures& captures() {
  static auto* const instance = new Captures;
  return *instance;
}

struct Graph {
  cudaGraphExec_t ready = nullptr;
  std::vector<void*> kept;
};

// Pools keep what was freed: the caching allocator above decides what goes back.
bool has_pools(int device) {
  static std::mutex lock;
  static std::vector<int> known;  // -1: not asked yet
  std::lock_guard hold(lock);
  if (known.size() <= static_cast<size_t>(device)) known.resize(static_cast<size_t>(device) + 1, -1);
  int& answer = known[static_cast<size_t>(device)];
  if (answer < 0) {
    cudaDeviceGetAttribute(&answer, cudaDevAttrMemoryPoolsSupported, device);
    cudaMemPool_t pool;
    if (answer && cudaDeviceGetDefaultMemPool(&pool, device) == cudaSuccess) {
      uint64_t threshold = UINT64_MAX;
      cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold);
    }
  }
  return answer != 0;
}

}  // namespace

bool emulated() { return false; }
int device_count() { return found().devices; }
std::string reason() { return found().reason; }

AcceleratorProperties properties(int device) {
  cudaDeviceProp p{};
  if (const Status s = status_of(cudaGetDeviceProperties(&p, device)); !s)
    throw DeviceError(message("device cuda:", device, ": ", s.error));
  return {p.name, p.major, p.minor, p.multiProcessorCount, p.totalGlobalMem};
}

void select(int device) { cudaSetDevice(device); }
Status health(int device) {
  cudaSetDevice(device);
  return status_of(cudaFree(nullptr));
}
void name_operation(const char*) {}

void* allocate(int device, void* stream, size_t bytes) {
  cudaSetDevice(device);
  void* p = nullptr;
  const bool plain = !has_pools(device) || capturing(device, stream);
  const cudaError_t error = !plain ? cudaMallocAsync(&p, bytes, stream_of(stream)) : cudaMalloc(&p, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  if (plain) {
    Captures& c = captures();
    std::lock_guard hold(c.lock);
    c.plain.insert(p);
  }
  return p;
}
void release(int device, void* stream, void* p) {
  cudaSetDevice(device);
  if (capturing(device, stream)) {
    Captures& c = captures();
    std::lock_guard hold(c.lock);
    c.kept[stream].push_back(p);
    return;
  }
  bool plain = !has_pools(device);
  if (!plain) {
    Captures& c = captures();
    std::lock_guard hold(c.lock);
    plain = c.plain.erase(p) > 0;
  }
  if (plain) {
    cudaStreamSynchronize(stream_of(stream));
    cudaFree(p);
  } else {
    cudaFreeAsync(p, stream_of(stream));
  }
  cudaGetLastError();
}
void hand_out(int, void*, void*, size_t, size_t) {}
void take_back(int, void*, void*, size_t) {}

void* allocate_pinned(size_t bytes) {
  void* p = nullptr;
  if (cudaHostAlloc(&p, bytes, cudaHostAllocPortable) == cudaSuccess) return p;
  cudaGetLastError();
  return nullptr;
}
void release_pinned(void* p) { cudaFreeHost(p); }

int device_of(const void* p) {
  cudaPointerAttributes found{};
  if (cudaPointerGetAttributes(&found, p) != cudaSuccess) {
    cudaGetLastError();
    return -1;
  }
  return found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged ? found.device : -1;
}

Status copy(int device, void* stream, void* to, const void* from, size_t bytes, Direction direction) {
  cudaSetDevice(device);
  const cudaMemcpyKind kind = direction == Direction::to_device ? cudaMemcpyHostToDevice
                              : direction == Direction::to_host ? cudaMemcpyDeviceToHost
                                                                : cudaMemcpyDeviceToDevice;
  return status_of(cudaMemcpyAsync(to, from, bytes, kind, stream_of(stream)));
}
Status copy_peer(int to_device, void* to, int from_device, const void* from, size_t bytes, void* stream) {
  cudaSetDevice(from_device);
  return status_of(cudaMemcpyPeerAsync(to, to_device, from, from_device, bytes, stream_of(stream)));
}

void* make_stream(int device) {
  cudaSetDevice(device);
  cudaStream_t stream = nullptr;
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess) return stream;
  cudaGetLastError();
  return nullptr;
}
Status synchronize(int device, void* stream) {
  cudaSetDevice(device);
  return status_of(cudaStreamSynchronize(stream_of(stream)));
}

void* make_event(int device) {
  cudaSetDevice(device);
  cudaEvent_t event = nullptr;
  if (cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess) return event;
  cudaGetLastError();
  return nullptr;
}
void destroy_event(int, void* event) { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
Status record(int device, void* event, void* stream) {
  cudaSetDevice(device);
  return status_of(cudaEventRecord(static_cast<cudaEvent_t>(event), stream_of(stream)));
}
Status wait(int device, void* stream, void* event) {
  cudaSetDevice(device);
  return status_of(cudaStreamWaitEvent(stream_of(stream), static_cast<cudaEvent_t>(event), 0));
}
Status synchronize_event(int device, void* event) {
  cudaSetDevice(device);
  return status_of(cudaEventSynchronize(static_cast<cudaEvent_t>(event)));
}

Status begin_capture(int device, void* stream) {
  cudaSetDevice(device);
  return status_of(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeRelaxed));
}
void* end_capture(int device, void* stream, Status* status) {
  cudaSetDevice(device);
  auto* const made = new Graph;
  {
    Captures& c = captures();
    std::lock_guard hold(c.lock);
    made->kept.swap(c.kept[stream]);
  }
  cudaGraph_t graph = nullptr;
  *status = status_of(cudaStreamEndCapture(stream_of(stream), &graph));
  if (*status) {
    *status = status_of(cudaGraphInstantiate(&made->ready, graph, 0));
    cudaGraphDestroy(graph);
  }
  return made;  // with its memory even where it failed
}
Status launch_graph(int device, void* graph, void* stream) {
  cudaSetDevice(device);
  return status_of(cudaGraphLaunch(static_cast<Graph*>(graph)->ready, stream_of(stream)));
}
void destroy_graph(int device, void* graph, void* stream) {
  auto* const g = static_cast<Graph*>(graph);
  if (g->ready) cudaGraphExecDestroy(g->ready);
  for (void* p : g->kept) release(device, stream, p);
  delete g;
}
Status write_now(int device, void* to, const void* from, size_t bytes) {
  cudaSetDevice(device);
  return status_of(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
}
bool capturing(int device, void* stream) {
  cudaSetDevice(device);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream_of(stream), &status) == cudaSuccess && status != cudaStreamCaptureStatusNone;
}

}  // namespace dc::gpu
