// What the back end needs from a CUDA runtime. Two fillings: gpu_cuda.cu over NVIDIA's, emulation/runtime over the
// emulated device. Streams, events and graphs are opaque; every call names its device.
#pragma once
#include <cstddef>
#include <string>

#include "core/accelerator.h"
#include "device/status.cuh"

namespace dc::gpu {

bool emulated();
// Usable devices; 0 where reason() is not empty.
int device_count();
// Why no device can be used, with the remedy; empty when one can.
std::string reason();
AcceleratorProperties properties(int device);

// ---- memory ----
// In the order of the stream. Null when memory is out. While the stream is captured, memory is allocated outside of the
// graph, and what is released lives as long as the graph.
void* allocate(int device, void* stream, size_t bytes);
void release(int device, void* stream, void* p);
// A caching allocator hands a block of `block` bytes out again for `bytes`, or takes it back. Nothing on a GPU; the
// emulated device makes the memory look fresh, and in checked builds what lies beyond `bytes` off limits.
void hand_out(int device, void* stream, void* p, size_t bytes, size_t block);
void take_back(int device, void* stream, void* p, size_t block);
// Written at once, whatever is queued or recorded: for memory that nobody uses yet.
Status write_now(int device, void* to, const void* from, size_t bytes);
// Page-locked memory of the host, read and written by copies that do not wait. Null when memory is out.
void* allocate_pinned(size_t bytes);
void release_pinned(void* p);

enum class Direction { to_device, to_host, on_device };
// The device that holds this memory; -1 where it is not memory of a device.
int device_of(const void* p);
// Queues a copy. Host memory is read or written when the stream comes to it, whether pinned or not.
Status copy(int device, void* stream, void* to, const void* from, size_t bytes, Direction direction);
// Between two devices, on the stream of the source.
Status copy_peer(int to_device, void* to, int from_device, const void* from, size_t bytes, void* stream);

// ---- streams and events ----
// Streams of others: 1 is the legacy stream, 2 the one of this thread, anything else a handle.
void* make_stream(int device);  // null on failure
Status synchronize(int device, void* stream);
void* make_event(int device);
void destroy_event(int device, void* event);
Status record(int device, void* event, void* stream);
// Later work of the stream waits for what was recorded.
Status wait(int device, void* stream, void* event);
Status synchronize_event(int device, void* event);

// ---- graphs: what is queued between the two is kept and not run ----
Status begin_capture(int device, void* stream);
// Holds the memory released meanwhile even where the status is an error; destroy_graph gives it back.
void* end_capture(int device, void* stream, Status* status);
Status launch_graph(int device, void* graph, void* stream);
void destroy_graph(int device, void* graph, void* stream);
bool capturing(int device, void* stream);

// The operation that queues work from now on, on this thread: reports name it.
void name_operation(const char* op);
// The current device of this thread, for launches.
void select(int device);
// An error where no later call can succeed.
Status health(int device);

}  // namespace dc::gpu
