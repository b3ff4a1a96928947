#include "emulation/symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace dc::emulation {

namespace {

std::string demangle(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

// A module's file, mapped for reading.
class MappedFile {
 public:
  explicit MappedFile(const char* path) {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0) return;
    if (fstat(file, &info) == 0 && info.st_size > 0) {
      void* data = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
      if (data != MAP_FAILED) {
        data_ = static_cast<const char*>(data);
        size_ = static_cast<size_t>(info.st_size);
      }
    }
    ::close(file);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (data_) munmap(const_cast<char*>(data_), size_);
  }
  // Null when [offset, offset + n elements) is not inside the file.
  template <class T>
  const T* at(uint64_t offset, uint64_t n = 1) const {
    return data_ && offset <= size_ && n <= (size_ - offset) / sizeof(T) ? reinterpret_cast<const T*>(data_ + offset)
                                                                         : nullptr;
  }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

struct Module {
  std::string path;
  uint64_t offset;  // of the address, as the module's tables count
};

bool find_module(const void* address, Module& module) {
  Dl_info info;
  link_map* map = nullptr;
  if (!dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) || !map) return false;
  // The main program has an empty name here, and dli_fname may be relative to a folder that was left since.
  module.path = map->l_name && *map->l_name ? map->l_name : "/proc/self/exe";
  module.offset = reinterpret_cast<uint64_t>(address) - map->l_addr;
  return true;
}

std::string real_path(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);  // the shell's /proc/self is another
  const std::string out = real ? real : path;
  std::free(real);
  return out;
}

std::string with_offset(const Module& module) {
  char text[32];
  std::snprintf(text, sizeof text, "+0x%llx", static_cast<unsigned long long>(module.offset));
  const std::string path = real_path(module.path);
  const size_t slash = path.rfind('/');
  return path.substr(slash == std::string::npos ? 0 : slash + 1) + text;
}

// The name of the function at `offset` in the file's symbol table, or empty.
std::string symbol_at(const MappedFile& file, uint64_t offset) {
  const auto* header = file.at<ElfW(Ehdr)>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return {};
  const auto* sections = file.at<ElfW(Shdr)>(header->e_shoff, header->e_shnum);
  for (unsigned i = 0; sections && i < header->e_shnum; ++i) {
    const auto& section = sections[i];
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= header->e_shnum) continue;
    const uint64_t count = section.sh_size / sizeof(ElfW(Sym)), names = sections[section.sh_link].sh_offset;
    const auto* symbols = file.at<ElfW(Sym)>(section.sh_offset, count);
    for (uint64_t k = 0; symbols && k < count; ++k) {
      if (symbols[k].st_value != offset || (symbols[k].st_info & 0xF) != STT_FUNC) continue;
      if (const char* name = file.at<char>(names + symbols[k].st_name)) return demangle(name);
    }
  }
  return {};
}

// Text between quotes of a shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string output_of(const std::string& command) {
  std::string out;
  if (FILE* pipe = ::popen(command.c_str(), "re")) {
    char buffer[4096];
    while (size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
    ::pclose(pipe);
  }
  return out;
}

}  // namespace

std::string function_name(const void* address) {
  Module module;
  if (!find_module(address, module)) return "unknown kernel";
  const std::string name = symbol_at(MappedFile(module.path.c_str()), module.offset);
  return name.empty() ? "kernel at " + with_offset(module) : name;
}

CodeLine code_line(const void* code) {
  Module module;
  if (!find_module(static_cast<const char*>(code) - 1, module)) return {"", "unknown code", 0};
  char offset[32];
  std::snprintf(offset, sizeof offset, "0x%llx", static_cast<unsigned long long>(module.offset));
  const std::string out = output_of("addr2line -f -C -i -e " + quoted(real_path(module.path)) + " " + offset + " 2>&1");
  // Pairs of lines, function and file:line, from the innermost inlined function outwards.
  CodeLine found{"", with_offset(module), 0};
  size_t at = 0;
  while (at < out.size()) {
    const size_t end = out.find('\n', at), end2 = end == std::string::npos ? end : out.find('\n', end + 1);
    if (end2 == std::string::npos) break;
    const std::string function = out.substr(at, end - at), place = out.substr(end + 1, end2 - end - 1);
    at = end2 + 1;
    const size_t colon = place.rfind(':');
    const unsigned line = colon == std::string::npos ? 0 : static_cast<unsigned>(std::atoi(place.c_str() + colon + 1));
    if (line == 0 || place.find("cuda/emulation/") != std::string::npos) continue;
    const size_t slash = place.rfind('/', colon);
    const size_t from = slash == std::string::npos ? 0 : slash + 1;
    found = {place.substr(from, colon - from), function, line};
    if (place.find("cuda/device/") == std::string::npos) break;
  }
  return found;
}

std::string code_place(const void* code) {
  const CodeLine c = code_line(code);
  return c.line ? c.file + ":" + std::to_string(c.line) + " (" + c.function + ")" : c.function;
}

}  // namespace dc::emulation
