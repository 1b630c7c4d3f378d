/* A share group in one partition: whichever member asks acquires the next record, settles it or gives it back; members die at every step,
 * what they held is put back by whoever finds them dead, and their slots are taken by others.
 *
 * Code: SharedPartition (lib/group/share_window.h, share_window.cpp), put_back_the_dead and leave (lib/bus/share_consumer.cpp),
 * take_slot (lib/group/share_file.cpp). Steps F1 to S4 and P1 are those of share_window.h.
 * Abstracted: the ring holds RECORDS committed records of one cell, so that a record's position is its sequence; evictions and the cursor's
 * owner (reorder; evict.pml has the cursor); the limit of deliveries; memory is sequentially consistent; who looks next where is left open.
 *
 * Shown: no record is held by two that live, none is overwritten while it is held or filled in, each is settled exactly once, and when nothing
 * moves any more all are settled and the cursor is behind them, if a member lives.
 *
 * Mutants: M_NO_LAP an entry's word does not carry the lap; M_NO_COUNT deliveries do not rise; M_SLOT_FIRST the dead's slot is looked at before the
 *  entry; M_FREE_FIRST a slot is given free before its entries are put back; M_NO_HELP an entry that is filled and not counted is left to
 *  its filler; M_FILL_STORE F3 stores, without comparing; M_PASS S4 goes to the end instead of base;
 *  M_BASE_JUMPS S2 passes an entry that is acquired. */
#ifndef RECORDS
#define RECORDS 3
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef RETURNS
#define RETURNS 1
#endif
#define WINDOW 2
#define SLOTS 2
#define MEMBERS 3
#define NONE 255
#define GONE 0
#define AVAILABLE 1
#define ACQUIRED 2
#define DONE 3
#ifdef M_NO_LAP
#define LAP(s) 0
#else
#define LAP(s) ((s)/WINDOW)
#endif
#define E(s) ((s)%WINDOW)

/* an entry: state | lap | deliveries | holder is one word; F3 compares the position with it */
byte state[WINDOW], lap[WINDOW], deliveries[WINDOW], holder[WINDOW], position[WINDOW];
byte base = WINDOW, end = WINDOW, cursor = WINDOW;  /* sequences begin in lap 1; so do positions */
byte slots[SLOTS];              /* member in it; NONE: free */
bool alive[MEMBERS];
byte deaths = 0, returns = 0;
/* ghosts */
byte held_by[RECORDS+WINDOW]; bool settled[RECORDS+WINDOW];
#define LAST (RECORDS+WINDOW)

#ifdef M_FILL_STORE
#define FILLABLE(s, w, p) true
#else
#define FILLABLE(s, w, p) (state[E(s)] == w && lap[E(s)] == l && position[E(s)] == p)
#endif
#ifdef M_NO_COUNT
#define ONE_MORE(d) (d)
#else
#define ONE_MORE(d) ((d)+1)
#endif
#define MINE(s) (state[E(s)] == ACQUIRED && lap[E(s)] == LAP(s) && deliveries[E(s)] == d && holder[E(s)] == slot)
#ifdef M_NO_HELP
#define TO_FILL(s) (lap[E(s)] != LAP(s))
#else
#define TO_FILL(s) true
#endif
#ifdef M_BASE_JUMPS
#define PASSABLE(s) (state[E(s)] == DONE || state[E(s)] == ACQUIRED)
#else
#define PASSABLE(s) (state[E(s)] == DONE)
#endif
#ifdef M_PASS
#define SETTLED_TO end
#else
#define SETTLED_TO base
#endif
#define LIVES(m) ((m) != NONE && alive[m])

inline dies() { if :: true :: deaths < DEATHS -> deaths++; goto dead fi }

/* Puts back what the dead `x`, seen in slot `h`, held, then gives the slot free. */
inline put_back_the_dead(h) {
#ifdef M_FREE_FIRST
  atomic { if :: slots[h] == x -> slots[h] = NONE :: else fi }
#endif
  s = base;
  do
  :: s < end ->
#ifdef M_SLOT_FIRST
     ok = (slots[h] == x);
     atomic { d = deliveries[E(s)]; ok = ok && (state[E(s)] == ACQUIRED && lap[E(s)] == LAP(s) && holder[E(s)] == h) }
#else
     atomic { d = deliveries[E(s)]; ok = (state[E(s)] == ACQUIRED && lap[E(s)] == LAP(s) && holder[E(s)] == h) }
     if :: ok && slots[h] != x -> break :: else fi;
#endif
     atomic {
       if
       :: ok && state[E(s)] == ACQUIRED && lap[E(s)] == LAP(s) && deliveries[E(s)] == d && holder[E(s)] == h ->
          assert(!LIVES(held_by[s]));
          state[E(s)] = AVAILABLE; holder[E(s)] = 0; held_by[s] = NONE
       :: else
       fi; s++; ok = 0; d = 0 }
  :: s >= end -> break
  od;
#ifndef M_FREE_FIRST
  atomic { if :: slots[h] == x -> slots[h] = NONE :: else fi }
#endif
  atomic { s = 0; x = 0; d = 0; ok = 0 }
}

/* F1 to F4 */
inline fill() {
  atomic { s = end; if :: s < LAST && s - base < WINDOW -> skip :: else -> s = 0; goto again fi }
  atomic { if :: end != s -> s = 0; goto again :: else -> assert(cursor <= s) fi;     /* what was read in the ring is right */
    w = state[E(s)]; l = lap[E(s)]; x = position[E(s)] }
  if
  :: atomic { l != LAP(s) || (LAP(s) == LAP(s - WINDOW) && w == DONE) ->
       if
       :: w == DONE && l == LAP(s - WINDOW) && FILLABLE(s, w, x) ->
          state[E(s)] = AVAILABLE; lap[E(s)] = LAP(s); deliveries[E(s)] = 0; holder[E(s)] = 0; position[E(s)] = s; w = NONE
       :: else
       fi }
     dies()
  :: else                                                    /* filled, and not counted */
  fi;
  atomic { if :: end == s -> end = s + 1 :: else fi; s = 0; w = 0; l = 0; x = 0; dies() }
}

proctype Member(byte me) {
  byte slot = NONE, s, d, w, l, x; bool ok;
  alive[me] = 1;                                                                        /* its lease comes first */
  do
  :: atomic { slots[0] == NONE -> slots[0] = me; slot = 0; break }
  :: atomic { slots[1] == NONE -> slots[1] = me; slot = 1; break }
  :: atomic { slots[0] != NONE && !alive[slots[0]] -> x = slots[0] } put_back_the_dead(0)
  :: atomic { slots[1] != NONE && !alive[slots[1]] -> x = slots[1] } put_back_the_dead(1)
  :: base == LAST && cursor == LAST -> goto out
  od;
again:
  do
  :: end < LAST && end - base < WINDOW && TO_FILL(end) -> fill()
  :: atomic { base < end && state[E(base)] == AVAILABLE && lap[E(base)] == LAP(base) -> s = base; d = deliveries[E(s)] } goto acquire
  :: atomic { base + 1 < end && state[E(base+1)] == AVAILABLE && lap[E(base+1)] == LAP(base+1) -> s = base + 1; d = deliveries[E(s)] } goto acquire
  :: atomic { base < end && PASSABLE(base) && lap[E(base)] == LAP(base) -> s = base }      /* S2 */
     atomic { if :: base == s -> base = s + 1 :: else fi; s = 0; dies() }
  :: atomic { cursor < SETTLED_TO -> s = SETTLED_TO }                                  /* S3, S4 */
     atomic { if :: cursor < s -> cursor = s;
          assert(!LIVES(held_by[s-1])) :: else fi; s = 0; dies() }
  :: atomic { slots[0] != NONE && !alive[slots[0]] -> x = slots[0] } put_back_the_dead(0)
  :: atomic { slots[1] != NONE && !alive[slots[1]] -> x = slots[1] } put_back_the_dead(1)
  :: base == LAST && cursor == LAST && !(slots[0] != NONE && !alive[slots[0]]) && !(slots[1] != NONE && !alive[slots[1]]) -> goto out
  od;
acquire:
  atomic {                                                                              /* A1 */
    if
    :: state[E(s)] == AVAILABLE && lap[E(s)] == LAP(s) && deliveries[E(s)] == d ->
       assert(!LIVES(held_by[s]) && !settled[s]);
       state[E(s)] = ACQUIRED; holder[E(s)] = slot; deliveries[E(s)] = ONE_MORE(d); held_by[s] = me; d = ONE_MORE(d)
    :: else -> s = 0; d = 0; goto again
    fi; dies() }
  atomic { assert(position[E(s)] == s && cursor <= s); dies() }                         /* it is read, and worked on */
  if
  :: atomic { assert(cursor <= s && held_by[s] == me);                                  /* S1 */
       if :: MINE(s) -> assert(!settled[s]); state[E(s)] = DONE; deliveries[E(s)] = 0; holder[E(s)] = 0; settled[s] = 1 :: else -> assert(false) fi;
       held_by[s] = NONE; s = 0; d = 0; dies() }
  :: atomic { returns < RETURNS -> returns++;                                           /* P1, by itself */
       if :: MINE(s) -> state[E(s)] = AVAILABLE; holder[E(s)] = 0 :: else -> assert(false) fi;
       held_by[s] = NONE; s = 0; d = 0; dies() }
  fi;
  goto again;
dead:
  atomic { alive[me] = 0; s = 0; d = 0; w = 0; l = 0; x = 0; ok = 0; slot = 0 }
out: skip
}

active proctype Monitor() {
  byte s = WINDOW;
  timeout ->
  atomic {
    if
    :: alive[0] || alive[1] || alive[2] ->
       assert(base == LAST && cursor == LAST);
       do :: s < LAST -> assert(settled[s]); s++ :: else -> break od
    :: else
    fi }
}

init {
  byte i;
  atomic {
    do :: i < WINDOW -> state[i] = DONE; lap[i] = 0; position[i] = i; i++ :: else -> break od; i = 0;
    do :: i < LAST -> held_by[i] = NONE; i++ :: else -> break od; i = 0;
    slots[0] = NONE; slots[1] = NONE;
    run Member(0); run Member(1); run Member(2) }
}
