// What calls have in shared memory: a server's file, and a channel's file per client and server. Fixed width, little-endian, asserted
// at the end. Change anything here and raise kVersion.
//
//   <bus>/services/<service>/<incarnation>-<number>/     one live server; made in tmp/, published by rename
//     server            0  ServerHeader    immutable
//                    1024  Attention, Load, Doorbells
//                    2048  ClientSlot[clients]
//                       …  MethodEntry[methods]         immutable
//                       …  MethodStatistics[methods]
//     <channel>         0  ChannelHeader   immutable; the file's name goes away as soon as the server has mapped it
//                     512  Cursor of the replies, Cursor of the requests, Sleeper (client's)
//                     896  CallSlot[slots]
//                       …  the ring of requests, the ring of replies
//
// A record in these rings is one of ring/layout.h whose key is a CallHeader: header and CallHeader fill a cache line, the body starts
// in the next. h1 has the record's number in its ring, h2 the boot clock instead of the wall clock. There are no claim marks: each
// ring has one writer, and whoever dies takes its channel along. Rings are mapped once; no record straddles the end: what is left
// there is a SKIP.
#pragma once

#include <arus/rpc_status.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "ring/layout.h"

namespace arus::rpc {

using ring::Word;

inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint64_t kServerMagic = 0x5652455353555241;   // "ARUSSERV"
inline constexpr std::uint64_t kChannelMagic = 0x4E41484353555241;  // "ARUSCHAN"

inline constexpr std::uint64_t kSmallestRing = 64u << 10;
inline constexpr std::uint64_t kLargestRing = 64u << 20;
inline constexpr std::uint32_t kMostCallSlots = 512;
inline constexpr std::uint32_t kMostClients = 1024;
inline constexpr std::uint32_t kMostMethods = 1024;
inline constexpr std::size_t kMostMethodName = 63;

// ---- records ----------------------------------------------------------------------------------------------------------------

inline constexpr std::uint16_t kLast = 1;    // replies: the call has ended
inline constexpr std::uint16_t kNotRun = 2;  // replies: the server has not begun the call; it may be made elsewhere
inline constexpr std::uint16_t kText = 4;    // replies: the body is the status's message
inline constexpr std::uint16_t kEnd = 8;     // replies: the end of a stream, and no reply itself

struct CallHeader {
  std::uint64_t id;       // attempt:48 | slot:16; never used again by its client
  std::int64_t deadline;  // requests: boot clock, ns
  std::uint32_t method;   // requests: index in the server's table
  std::uint16_t code;     // replies: Code
  std::uint16_t flags;
  std::uint64_t reserved;
};
static_assert(sizeof(CallHeader) == 32 && offsetof(CallHeader, deadline) == 8 && offsetof(CallHeader, method) == 16);
static_assert(offsetof(CallHeader, code) == 20 && offsetof(CallHeader, flags) == 22);
inline constexpr std::uint64_t kBodyAt = ring::kRecordHeader + sizeof(CallHeader);
static_assert(kBodyAt == ring::kCell);

constexpr std::uint32_t slot_of(std::uint64_t id) noexcept { return static_cast<std::uint32_t>(id & 0xffff); }
constexpr std::uint64_t cells_for(std::uint64_t body) noexcept { return (kBodyAt + body + ring::kCell - 1) >> ring::kCellShift; }
// The largest body of a ring: it must fit behind as much padding as it may need at the ring's end, and leave the replies' reserve of a
// cell per call alone.
constexpr std::uint64_t most_body(std::uint64_t ring_bytes, std::uint64_t slots) noexcept {
  return ((ring_bytes >> ring::kCellShift) - slots) / 2 * ring::kCell - kBodyAt;
}

// ---- words that are waited on -------------------------------------------------------------------------------------------------

// One waiter. It stores its bell + 1, fences, looks again, sleeps. A waker makes its change, fences, loads; if it is not zero it takes it out
// and rings. The fences pair up: either the waker sees the waiter or the waiter sees the change.
struct alignas(128) Sleeper {
  Word bell;
};

// ---- the server's file -------------------------------------------------------------------------------------------------------

struct ServerHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t byte_order;
  std::uint64_t file_bytes;
  std::array<std::uint64_t, 2> boot_id;
  std::uint64_t incarnation;  // of its process
  std::uint64_t number;       // of this server: random
  std::int64_t started;       // wall clock
  std::uint32_t methods;
  std::uint32_t clients;
  std::uint32_t max_outstanding;
  std::uint32_t workers;
  std::uint64_t checksum;  // of everything above, and of the table of methods
};

enum class ServerStage : std::uint64_t {
  serving = 0,
  draining = 1,  // requests that it takes from now on are refused, not begun
  gone = 2,      // it takes and answers nothing any more
};

// Read by clients after every request; written by the server when it changes its ways or goes to sleep.
struct alignas(128) Attention {
  Word stage;     // ServerStage
  Word doorbell;  // 1: the server looks at Doorbells and not at each ring
  Word sleeper;   // as Sleeper, of the polling thread
};

struct alignas(128) Load {
  Word outstanding;  // calls begun and not ended; written by the server
  Word refused;      // by the admission limit
  Word dropped;      // replies nobody waited for
};

struct alignas(128) Doorbells {
  std::array<Word, kMostClients / 64> bits;  // by client slot: there may be a request, or its state has changed
};

enum class SlotState : std::uint64_t {
  free = 0,
  offered = 1,  // by the client: its channel's file is complete
  serving = 2,  // by the server: mapped
  closing = 3,  // by the client: everything it sent is to be dropped
  refused = 4,  // by the server: the channel's file is not what it should be, or what came through it was not
};

// A client's place. `incarnation` goes from 0 to the client's by compare-and-swap and back to 0 by the server, which first puts the
// rest back. Everything else is written by the client before `offered`.
struct alignas(64) ClientSlot {
  Word incarnation;
  Word state;    // SlotState
  Word channel;  // name of the channel's file
};

inline constexpr std::uint32_t kIdempotent = 1;
inline constexpr std::uint32_t kStreaming = 2;

struct MethodEntry {
  std::array<char, kMostMethodName + 1> name;  // terminated by a zero
  std::uint32_t request_size;                  // 0: any
  std::uint32_t reply_size;
  std::uint32_t flags;
  std::uint32_t reserved;
};

// Times of calls, from sent to answered: eight buckets per power of two from 128 ns on.
struct LatencyHistogram {
  static constexpr std::size_t kBuckets = 256;
  std::array<Word, kBuckets> counts;
};

struct alignas(128) MethodStatistics {  // written by the server
  std::array<Word, kCodes> ended;       // by Code
  LatencyHistogram latency;
};

inline constexpr std::uint64_t kAttentionAt = 1024;
inline constexpr std::uint64_t kLoadAt = kAttentionAt + sizeof(Attention);
inline constexpr std::uint64_t kDoorbellsAt = kLoadAt + sizeof(Load);
inline constexpr std::uint64_t kClientsAt = 2048;
constexpr std::uint64_t methods_at(std::uint64_t clients) noexcept { return kClientsAt + clients * sizeof(ClientSlot); }
constexpr std::uint64_t statistics_at(std::uint64_t clients, std::uint64_t methods) noexcept {
  return (methods_at(clients) + methods * sizeof(MethodEntry) + 127) & ~std::uint64_t{127};
}
constexpr std::uint64_t server_file_bytes(std::uint64_t clients, std::uint64_t methods) noexcept {
  return statistics_at(clients, methods) + methods * sizeof(MethodStatistics);
}

// ---- a channel's file --------------------------------------------------------------------------------------------------------

struct ChannelHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t byte_order;
  std::uint64_t file_bytes;
  std::uint64_t ring_bytes;   // of each ring
  std::uint64_t salt;         // its low two bits are zero, so that memory of zeros is no record
  std::uint64_t server;       // ServerHeader::number
  std::uint64_t incarnation;  // of the client
  std::uint32_t slots;
  std::uint32_t reserved;
  std::uint64_t checksum;  // of everything above
};

struct alignas(128) Cursor {
  Word position;  // in cells: everything below may be overwritten
  Word begun;     // of requests: what is below has been taken by the server, and perhaps run
};

// What the client says about one of its calls.
struct CallSlot {
  Word cancelled;  // id of a call that nobody waits for
  Word consumed;   // cells of streams' replies that were given back, over all calls of the slot
};

struct ChannelLines {
  Cursor replies;   // written by the client
  Cursor requests;  // written by the server
  Sleeper client;   // the client, for replies and for room
};

inline constexpr std::uint64_t kLinesAt = 512;
inline constexpr std::uint64_t kCallSlotsAt = kLinesAt + sizeof(ChannelLines);
constexpr std::uint64_t requests_at(std::uint64_t slots) noexcept {
  return (kCallSlotsAt + slots * sizeof(CallSlot) + 4095) & ~std::uint64_t{4095};
}
constexpr std::uint64_t channel_file_bytes(std::uint64_t slots, std::uint64_t ring_bytes) noexcept {
  return requests_at(slots) + 2 * ring_bytes;
}

// ---- the layout, once more, as a compiler must see it -------------------------------------------------------------------------

static_assert(sizeof(ServerHeader) == 88 && offsetof(ServerHeader, boot_id) == 24 && offsetof(ServerHeader, incarnation) == 40);
static_assert(offsetof(ServerHeader, number) == 48 && offsetof(ServerHeader, started) == 56);
static_assert(offsetof(ServerHeader, methods) == 64 && offsetof(ServerHeader, clients) == 68);
static_assert(offsetof(ServerHeader, max_outstanding) == 72 && offsetof(ServerHeader, workers) == 76);
static_assert(offsetof(ServerHeader, checksum) == 80);
static_assert(sizeof(Attention) == 128 && offsetof(Attention, doorbell) == 8 && offsetof(Attention, sleeper) == 16);
static_assert(sizeof(Load) == 128 && offsetof(Load, refused) == 8 && offsetof(Load, dropped) == 16);
static_assert(sizeof(Doorbells) == 128 && kDoorbellsAt + sizeof(Doorbells) <= kClientsAt);
static_assert(sizeof(ClientSlot) == 64 && offsetof(ClientSlot, state) == 8 && offsetof(ClientSlot, channel) == 16);
static_assert(sizeof(MethodEntry) == 80 && offsetof(MethodEntry, request_size) == 64 && offsetof(MethodEntry, flags) == 72);
static_assert(offsetof(MethodStatistics, latency) == kCodes * 8 && sizeof(MethodStatistics) == 2304);
static_assert(sizeof(ChannelHeader) == 72 && offsetof(ChannelHeader, ring_bytes) == 24 && offsetof(ChannelHeader, salt) == 32);
static_assert(offsetof(ChannelHeader, server) == 40 && offsetof(ChannelHeader, incarnation) == 48);
static_assert(offsetof(ChannelHeader, slots) == 56 && offsetof(ChannelHeader, checksum) == 64);
static_assert(sizeof(ChannelLines) == 384 && offsetof(ChannelLines, client) == 256);
static_assert(sizeof(CallSlot) == 16 && offsetof(CallSlot, consumed) == 8);

}  // namespace arus::rpc
