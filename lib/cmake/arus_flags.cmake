# How everything of arus is compiled. The flags are those of this directory and below it, so a project that embeds arus keeps its own.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug, RelWithDebInfo" FORCE)
endif()
string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

# The oldest x86-64 we run on is of 2009. -mcx16 lets GCC inline the 16-byte compare-and-swap of the ring's tail.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  add_compile_options(-march=x86-64-v2 -mtune=generic -mcx16)
endif()

# Nobody replaces a function of arus at load time, so the compiler may look into those that are not inline.
add_compile_options(-fno-semantic-interposition)
# Where in its lines a function stands is not left to what comes before it: that made a send take 12.5 or 14.3 ns.
add_compile_options(-falign-functions=64)

if(ARUS_DEVELOPER_MODE)
  add_compile_options(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
endif()

find_program(ARUS_CCACHE ccache)
mark_as_advanced(ARUS_CCACHE)
if(PROJECT_IS_TOP_LEVEL AND ARUS_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${ARUS_CCACHE}")
endif()

if(ARUS_SANITIZE)
  if(NOT ARUS_SANITIZE MATCHES "^(address,undefined|thread)$")
    message(FATAL_ERROR "ARUS_SANITIZE is '${ARUS_SANITIZE}'; it can be empty, 'address,undefined' or 'thread'")
  endif()
  # -O1 and line tables alone: instrumented code takes several times as long to compile at -O2 -g.
  add_compile_options(-fsanitize=${ARUS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=${ARUS_SANITIZE})
endif()
