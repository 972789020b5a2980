// stdout carries results only, and a result that could not be written is an error.
#pragma once
#include <string_view>

namespace me2::cli {

struct BrokenPipe {};  // thrown when the reader of stdout went away; cli/main.cpp leaves quietly with 141

void write_stdout(std::string_view text);  // and flushes; Exit::io when that fails
void finish_stdout();                      // flushes what the verb printed by any means, and checks it
void open_closed_streams();  // a closed stdin, stdout or stderr would be the next file opened: holds its place, unusable

}  // namespace me2::cli
