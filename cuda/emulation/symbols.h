// Names of code, for reports.
#pragma once
#include <string>

namespace dc::emulation {

// The function that begins at `address`, from the symbol table of its module; "kernel at module+0x.." if stripped.
std::string function_name(const void* address);
// "file.cu:12 (kernel(float*))" of an instruction, by addr2line and debug information; the outermost line inside a
// kernel counts, not the primitive that was inlined there. "module+0x.." where either is missing.
std::string code_place(const void* code);

struct CodeLine {
  std::string file, function;  // file without folders
  unsigned line = 0;           // 0: unknown, and `function` says module and offset
};
CodeLine code_line(const void* code);

}  // namespace dc::emulation
