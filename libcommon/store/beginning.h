// The first bytes of a file, by which readers tell its kind.
#pragma once
#include <cstddef>
#include <string>

namespace me2::store {

// At most `most` bytes; none of a folder. Exit::no_input when it is not there, Exit::io when it cannot be opened or read.
std::string read_beginning(const std::string& path, std::size_t most);

// Whether this errno, left by a library that does not say why it cannot open a file, is about the system and not about the file's content.
bool is_of_the_system(int reason);

}  // namespace me2::store
