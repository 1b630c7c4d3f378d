/* A producer's last record in lines of its own: what who waits there takes is what the log has, whole, and committed.
 *
 * Code: lib/ring/latest.h (L1 to L3, M1 to M3), Appender::commit_and_tell and tell_elsewhere (lib/ring/claim.h), PartitionReader::await_latest and
 * take_latest (lib/bus/partition_reader.h).
 * Abstracted: the log is a state for each position, set at once; every record has one cell, and a value of two halves, both its position + 1. Claims,
 * room and repair are those of stamp.pml: what a dead producer has not committed becomes a skip at some time, and another one takes its place and
 * its lines. What others send, and waking, is left out: both only send the reader to the log.
 * Memory: sequentially consistent, which is what x86 makes of stores that stay in order, and loads that do. The fences are for the others.
 *
 * Shown: the reader takes nothing but committed records, in order, and each value whole.
 *
 * Mutants: M_NO_L1 the position is not taken away first; M_NO_M3 no second look at it; M_EARLY told of before it is committed;
 *  M_BACK the position is that in the ring, which comes back. */
#ifndef RECORDS
#define RECORDS 5
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifdef M_BACK
#define NAME(p) ((p) % 2 + 1)
#else
#define NAME(p) ((p) + 1)
#endif
#define NONE 0
#define COMMITTED 1
#define SKIP 2
#define ELSEWHERE 255

byte log[RECORDS + 1];
byte position, what, first, second;  /* Latest */
byte claimed;                        /* the position that is claimed next */
byte deaths;
byte readers_at;

#define MAY_DIE if :: deaths < DEATHS -> deaths++; goto dead :: else :: true fi

active proctype producer() {
  byte p;
alive:
  do
  :: claimed < RECORDS && claimed < readers_at + 2 ->    /* two cells */
     p = claimed; claimed++;
     MAY_DIE;
     if
#ifdef M_EARLY
     :: goto tell
#endif
     :: log[p] = COMMITTED
     fi;
     MAY_DIE;
     if
     :: true ->
tell:
#ifndef M_NO_L1
        position = 0;
#endif
        MAY_DIE;
        first = p + 1;
        what = p + 1;
        second = p + 1;
        MAY_DIE;
        position = NAME(p)
     :: true ->             /* it does not fit there */
        position = 0;
        what = ELSEWHERE;
        MAY_DIE;
        position = NAME(p)
     :: true                /* nor did the last one */
     fi;
     if :: log[p] == NONE -> MAY_DIE; log[p] = COMMITTED :: else fi
  :: claimed == RECORDS -> break
  od;
  goto end;
dead:                        /* repaired, and another takes its place */
  if :: log[p] == NONE -> log[p] = SKIP :: else fi;
  goto alive;
end: skip
}

active proctype reader() {
  byte r, a, b, w;
  do
  :: r == RECORDS -> break
  :: r < RECORDS && position == NAME(r) ->
     w = what;
     a = first;
     b = second;
     if
#ifndef M_NO_M3
     :: position != NAME(r) -> skip
#endif
     :: position == NAME(r) ->
        if
        :: w == ELSEWHERE -> skip
        :: else ->
           assert(log[r] == COMMITTED && a == r + 1 && b == r + 1 && w == r + 1);
           r++; readers_at = r
        fi
#ifdef M_NO_M3
     :: else ->
        if
        :: w == ELSEWHERE -> skip
        :: else -> assert(log[r] == COMMITTED && a == r + 1 && b == r + 1 && w == r + 1); r++; readers_at = r
        fi
#endif
     fi
  :: r < RECORDS && log[r] != NONE -> r++; readers_at = r
  od
}
