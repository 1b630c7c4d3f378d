/* The partition of a topic with a single producer: claims of one record or a batch, whose tail is two plain stores (offset, then position),
 * with a producer that dies at every step, is registered anew (which may die at every step as well), and repairers beside it.
 *
 * Code: Appender::claim with single_producer, Inner::commit, commit_first (lib/ring/claim.h), Appender::enlist and is_settled
 * (lib/ring/claim.cpp), recover (lib/ring/repair.cpp), PartitionReader::take_settled with its offsets (lib/bus/partition_reader.cpp).
 * Abstracted: one lossless reader, whose cursor is the limit; a record takes one cell; the salt; a claim's k records are its n cells.
 *
 * Shown: no record is lost or delivered twice or before its batch is whole, offsets have no gap but behind a skipped claim, an aborted or
 * dead claim is passed, and what was put back of a torn tail is right.
 *
 * Mutants: M_NOT_BACK the registration leaves a torn tail as it is; M_ALWAYS_BACK it puts the offset back after a claim, too;
 *  M_POSITION_FIRST the position is stored before the offset; M_NO_INTENT C4 is left out; M_FIRST_FIRST a batch's first header is
 *  committed before the others; M_NO_H1 a repairer leaves h1 of an unmarked claim as it is (without R10);
 *  M_NO_SETTLE a slot is registered again without settling its hole; M_NO_REREAD without R3 and R8. */
#ifndef C
#define C 3
#endif
#ifndef MAXPOS
#define MAXPOS 7                /* claims begin below; positions start at C */
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef REPAIR_DEATHS
#define REPAIR_DEATHS 1
#endif
#define GP (MAXPOS+3)
#define X(p) ((p)%C)
#define LAP(p) (((p)/C)%2)
#define NOPOS 255
#define VALID(p) (state[X(p)] != 0 && lap[X(p)] == LAP(p))
#define CLAIMED 1
#define COMMITTED 2
#define SKIP 3
#define OPEN 1                  /* ghosts: claimed by the living */
#define ORPHANED 3              /* by a dead one */
#define SKIPPED 4

byte state[C], lap[C], cells[C], h1[C];
byte w0 = C, w1 = 0;            /* the tail */
byte slot0 = NOPOS, slot1, slot2, born = 0;
bool alive = 0;
byte cursor = C;
bool locked = 0;
bool dirty = 1;
byte deaths = 0, repair_deaths = 0, spurious = 0;
byte gst[GP], glen[GP], goff[GP], given = 0;  /* ghosts: what became of a claim; the offsets given out */

#define DEAD(p) (!alive || (p) < born)

inline mark(p, s, n) { state[X(p)] = s; lap[X(p)] = LAP(p); cells[X(p)] = n; dirty = 1 }

inline die() { if :: true :: deaths < DEATHS -> deaths++; goto dead fi }

/* A repairer, which holds the lock, may die here. */
inline die_holding() { if :: true :: repair_deaths < REPAIR_DEATHS -> repair_deaths++; goto dead_holding fi }

/* The lock is held. */
inline recover(p) {
  atomic { T = w0; n = 0 }
  die_holding();
  if
  :: p >= T -> skip
  :: p < T && VALID(p) && state[X(p)] != CLAIMED -> skip
  :: atomic { p < T && VALID(p) && state[X(p)] == CLAIMED -> n = cells[X(p)] }
     if
     :: DEAD(p) -> die_holding();
#ifndef M_NO_REREAD
        if :: VALID(p) && state[X(p)] == CLAIMED -> skip :: else -> n = 0 fi;
#endif
        die_holding();
        if
        :: n != 0 && cursor <= p -> die_holding();
           atomic { assert(gst[p] == ORPHANED && glen[p] == n); gst[p] = SKIPPED; mark(p, SKIP, n) }
        :: else
        fi
     :: else
     fi
  :: atomic { p < T && !VALID(p) -> n = 1 }
     if
     :: slot0 == p && DEAD(p) -> n = slot2; die_holding();
#ifndef M_NO_REREAD
        if :: !VALID(p) -> skip :: else -> n = 0 fi;
#endif
        die_holding();
        if
        :: n != 0 && cursor <= p && p + n <= T ->
#ifndef M_NO_H1
           die_holding();
           h1[X(p)] = slot1;
#endif
           die_holding();
           atomic { assert(gst[p] == ORPHANED && glen[p] == n); gst[p] = SKIPPED; mark(p, SKIP, n) }
        :: else
        fi
     :: else
     fi
  fi
}

active proctype Producer() {
  byte a, b, n, i, T, p;
register:
  /* enlist: under the registration lock */
  p = slot0;
#ifndef M_NO_SETTLE
  if
  :: p != NOPOS && p < w0 && p >= cursor ->
     atomic { !locked -> locked = 1 }                       /* tried; whoever fails tries the registration again */
     recover(p);
     locked = 0;
     if :: VALID(p) || p < cursor -> skip :: else -> goto out fi
  :: else
  fi;
#endif
  die();
  a = w0;
#ifdef M_ALWAYS_BACK
  if :: p != NOPOS -> w1 = slot1 :: else fi;
#else
#ifndef M_NOT_BACK
  if :: p == a -> w1 = slot1 :: else fi;
#endif
#endif
  die();
  born = a; die();
  slot0 = NOPOS; die();
  atomic { alive = 1; dirty = 1; a = 0; T = 0; p = 0; n = 0 }
  do
  :: w0 < MAXPOS ->
     if :: n = 1 :: n = 2 fi;
     atomic { cursor + C >= w0 + n -> a = w0; b = w1 }      /* room; nobody else writes the tail */
     atomic { assert(!VALID(a + n)); slot2 = n }            /* C3: no payload here that looks like a mark */
     slot1 = b; die();
#ifndef M_NO_INTENT
     atomic { slot0 = a; dirty = 1 } die();
#endif
#ifdef M_POSITION_FIRST
     atomic { w0 = a + n; gst[a] = OPEN; glen[a] = n; goff[a] = b; dirty = 1;
       assert(b == given); given = b + n } die();
     w1 = b + n; die();
#else
     w1 = b + n; die();
     atomic { w0 = a + n; gst[a] = OPEN; glen[a] = n; goff[a] = b; dirty = 1;
       assert(b == given); given = b + n } die();
#endif
     h1[X(a)] = b; die();
     atomic { assert(gst[a] == OPEN); mark(a, CLAIMED, n) } die();
     if
     :: atomic { n == 1 -> assert(gst[a] == OPEN); gst[a] = COMMITTED; mark(a, COMMITTED, 1) }
     :: n == 2 ->
#ifdef M_FIRST_FIRST
        atomic { gst[a] = COMMITTED; glen[a] = 1; mark(a, COMMITTED, 1);
          gst[a+1] = COMMITTED; glen[a+1] = 1; goff[a+1] = b + 1 }
        die();
#endif
        h1[X(a+1)] = b + 1;
        atomic { mark(a + 1, COMMITTED, 1) } die();
#ifndef M_FIRST_FIRST
        atomic { assert(gst[a] == OPEN); gst[a] = COMMITTED; glen[a] = 1; mark(a, COMMITTED, 1);
          gst[a+1] = COMMITTED; glen[a+1] = 1; goff[a+1] = b + 1 }
#endif
     :: atomic { assert(gst[a] == OPEN); gst[a] = SKIPPED; mark(a, SKIP, n) }   /* abort */
     fi;
     die();
     atomic { a = 0; b = 0; n = 0 }
  :: w0 >= MAXPOS -> break
  od;
  goto out;
dead_holding:
  locked = 0;
dead:
  skip;
  d_step { alive = 0; i = 0;
    do :: i < GP -> if :: gst[i] == OPEN -> gst[i] = ORPHANED :: else fi; i++ :: else -> break od;
    i = 0; a = 0; b = 0; n = 0; p = 0; T = 0; dirty = 1 }
  if :: goto register :: goto out fi;
out: skip
}

proctype Repairer() {
  byte n, T, p;
  do
  :: atomic { !locked && dirty && (gst[cursor] == ORPHANED || (gst[cursor] == OPEN && spurious < 1)) ->
       if :: gst[cursor] == OPEN -> spurious++ :: else fi; locked = 1; dirty = 0; p = cursor }
     recover(p);
     atomic { locked = 0; n = 0; T = 0; p = 0 }
  :: false ->
dead_holding:
     atomic { locked = 0; dirty = 1; n = 0; T = 0; p = 0 }
  od
}

proctype Reader() {
  byte n, o, expected = 0; bool exactly = 1;
  do
  :: atomic { VALID(cursor) && state[X(cursor)] == COMMITTED ->
       n = cells[X(cursor)]; o = h1[X(cursor)];
       assert(gst[cursor] == COMMITTED && glen[cursor] == n && goff[cursor] == o);
       assert(o == expected || (!exactly && o > expected)); expected = o + 1; exactly = 1 }
     atomic { cursor = cursor + n; n = 0; o = 0; dirty = 1 }
  :: atomic { VALID(cursor) && state[X(cursor)] == SKIP ->
       n = cells[X(cursor)]; o = h1[X(cursor)];
       assert(gst[cursor] == SKIPPED && glen[cursor] == n);
       assert(o == expected || !exactly); exactly = 0 }      /* its own offset is known, how many it took is not */
     atomic { cursor = cursor + n; n = 0; o = 0; dirty = 1 }
  od
}

/* When nothing moves any more, nothing that is settled or can be is left, and the tail is whole. */
active proctype Monitor() {
  timeout -> assert(gst[cursor] != COMMITTED && gst[cursor] != ORPHANED && gst[cursor] != SKIPPED)
}

init { atomic { run Repairer(); run Reader() } }
