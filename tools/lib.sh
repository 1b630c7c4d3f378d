# shellcheck shell=bash
# What the scripts of this directory share. Source it; `root` is the top of the tree and the working directory from then on.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$root" || exit 1

# What was compiled in another clone of this tree need not be compiled again.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1

say() { printf '%s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# missing_packages SECTION...: those of tools/packages that are not installed, one a line.
missing_packages() {
  local name
  awk -v sections=" $* " '!/^#/ && NF && index(sections, " " $1 " ") { print $2 }' tools/packages | while read -r name; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || say "$name"
  done
}

# need_packages SECTION...: install what is missing. Fails, and names the packages, where that is not possible.
need_packages() {
  if ! have dpkg-query || ! have apt-get; then
    say "This is not Debian: install by hand what tools/packages lists under: $*"
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0

  local as_root=()
  if ((EUID != 0)); then
    if ! have sudo || ! { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
      say "These packages are missing, and only root can install them: apt-get install ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  say "Installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  local log
  log=$(mktemp)
  # Packages of another architecture stand beside this one's, or are not installed.
  if [[ ${missing[*]} == *:* ]]; then
    apt+=(--no-remove)
    local name foreign
    for name in "${missing[@]}"; do
      foreign=${name##*:}
      if [[ $name == *:* && $(dpkg --print-architecture; dpkg --print-foreign-architectures) != *"$foreign"* ]]; then
        say "Adding the architecture $foreign to dpkg's"
        "${as_root[@]}" dpkg --add-architecture "$foreign" || return 1
      fi
    done
  fi
  # The package lists of a fresh image are empty, those of an old one stale: fetch them once if the first attempt fails.
  if "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null ||
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    rm -f "$log"
    return 0
  fi
  tail -n 15 "$log" >&2
  rm -f "$log"
  say "Could not install: ${missing[*]}" >&2
  return 1
}

# job_count: how many compilers may run at once: one per core, and 1 GiB of memory for each.
job_count() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  ((memory >= 1)) || memory=1
  say $((cores < memory ? cores : memory))
}

# configure PRESET [CMAKE-ARGUMENT...]: its build directory is .build/PRESET.
configure() {
  local preset=$1
  shift
  # A tree that was moved or copied keeps the old path in its cache, which cmake refuses.
  local cached=.build/$preset/CMakeCache.txt
  if [[ -f $cached ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cached"; then
    rm -rf ".build/$preset"
  fi
  cmake --preset "$preset" "$@"
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  cmake --build --preset "$preset" --parallel "$(job_count)" ${1:+--target "$@"}
}

# scratch_directory NAME NEED-IN-MIB: a new directory, in memory if there is that much room, otherwise on disk. Others may pass through
# it: tests of permissions act as another user inside.
scratch_directory() {
  local place=/dev/shm free directory
  free=$(df --output=avail -k "$place" 2>/dev/null | tail -n 1) || free=0
  if [[ ! -w $place ]] || ((free < $2 * 1024)); then
    place=${TMPDIR:-/tmp}
  fi
  directory=$(mktemp -d "$place/$1.XXXXXX") && chmod 711 "$directory" && printf '%s\n' "$directory"
}

# end_processes NAME=VALUE: kill every process that has this variable in its environment; prints one line for each. A process that was
# stopped, or that left its process group or session, is found as well.
end_processes() {
  local file pid command
  grep -lsz "^$1\$" /proc/[0-9]*/environ | while read -r file; do
    pid=${file//[!0-9]/}
    command=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || continue
    if kill -KILL "$pid" 2>/dev/null; then
      say "$pid $command"
    fi
  done
}
