/* Who repairs for those who may only read: producers look now and then at each other's slots. One producer has several claims (loans) open
 * at a time, settles them in any order, and dies at every step; its slot is registered again. Another producer looks.
 *
 * Code: Appender::claim and settle (lib/ring/claim.h: ProducerSlot::open_since), look_after_others, is_settled and enlist
 * (lib/ring/claim.cpp), recover_older (lib/ring/repair.cpp).
 * Abstracted: recover() of one claim is one step (stamp.pml has its own), every claim takes one cell, there is room.
 *
 * Shown: when nothing moves any more, no claim of a dead producer is open, although only producers repair.
 *
 * Mutants: M_INTENT_ONLY producers look at the last claim of each slot only; M_NOTE_LATE open_since is stored behind the next claim's intent;
 *  M_NOTE_CLEARED it is taken back by every settled claim, not by the last; M_NOTE_DROPPED a slot is registered again before its older claims
 *  are settled. */
#define N 5                     /* claims */
#define NONE 255
#define HOLE 1                  /* claimed, unmarked */
#define OPEN 2                  /* CLAIMED */
#define SETTLED 3
byte state[N]; bool victims[N]; /* the victim's or its slot's next owner's */
byte tail = 0;
byte intent = NONE, since = NONE, born = 0;
bool alive = 1, finished = 0, changed = 1;
byte lives = 0;

#define DEAD(p) (!alive || (p) < born)
inline die() { if :: true :: lives < 1 -> goto dead fi }

/* Settles what is open of the slot below its intent; `ok` says whether all is. */
inline recover_older(ok) {
  atomic { e = intent; p = since; ok = 1; if :: e == NONE || p == NONE -> e = 0; p = 0 :: else fi; if :: e > tail -> e = tail :: else fi }
  do
  :: atomic { p < e && state[p] == HOLE -> ok = 0; break }
  :: atomic { p < e && state[p] == OPEN && victims[p] && DEAD(p) -> state[p] = SETTLED; changed = 1; p++ }
  :: atomic { p < e && (state[p] == SETTLED || (state[p] == OPEN && !(victims[p] && DEAD(p)))) -> p++ }
  :: atomic { p >= e -> break }
  od;
  atomic { p = 0; e = 0 }
}

active proctype Victim() {
  byte p, e, count = 0, last; bool ok;
  bool mine[N];
again:
  do
  :: tail < N ->
#ifndef M_NOTE_LATE
     atomic { if :: count > 0 && since == NONE -> since = last; changed = 1 :: else fi; die() }
#endif
     atomic { p = tail; intent = p; changed = 1; die() }
#ifdef M_NOTE_LATE
     atomic { if :: count > 0 && since == NONE -> since = last; changed = 1 :: else fi; die() }
#endif
     if
     :: atomic { tail == p && p < N -> tail++; state[p] = HOLE; victims[p] = 1; changed = 1; die() }
        atomic { assert(state[p] == HOLE); state[p] = OPEN; changed = 1; mine[p] = 1; count++; last = p; p = 0; die() }
     :: atomic { tail != p || p == N -> p = 0 }
     fi
  :: atomic { count > 0 -> p = 0 }
     do
     :: atomic { p < N && mine[p] -> assert(state[p] == OPEN); state[p] = SETTLED; changed = 1; mine[p] = 0; count--; break }
     :: atomic { p < N - 1 -> p++ }
     :: atomic { p == N - 1 && !mine[p] -> break }
     od;
     atomic { p = 0; die() }
#ifdef M_NOTE_CLEARED
     atomic { since = NONE; changed = 1; die() }
#else
     atomic { if :: count == 0 && since != NONE -> since = NONE; changed = 1 :: else fi; die() }
#endif
  :: atomic { tail == N && count == 0 -> finished = 1; break }
  od;
  goto out;
dead:
  atomic { alive = 0; lives++; changed = 1; count = 0; last = 0; p = 0;
    do :: p < N -> mine[p] = 0; p++ :: else -> p = 0; break od }
  if
  :: goto out
  :: true
  fi;
  /* the slot is registered again; the new owner tries until it is settled */
#ifndef M_NOTE_DROPPED
  recover_older(ok);
  if :: !ok -> goto out :: else fi;
#endif
  atomic { if :: intent != NONE && intent < tail && victims[intent] && state[intent] < SETTLED -> state[intent] = SETTLED :: else fi }
  atomic { born = tail; since = NONE; intent = NONE }
  atomic { alive = 1; changed = 1 }
  goto again;
out: skip
}

active proctype Other() {
  byte p, e, k; bool ok;
  do
  :: atomic { k < 2 && tail < N -> k++; state[tail] = SETTLED; tail++; changed = 1 }   /* records of its own in between */
  :: atomic { changed -> changed = 0 }                                               /* look_after_others */
     atomic { p = intent; if :: p != NONE && p < tail && victims[p] && state[p] < SETTLED && DEAD(p) -> state[p] = SETTLED; changed = 1 :: else fi; p = 0 }
#ifndef M_INTENT_ONLY
     if
     :: since != NONE && !alive -> recover_older(ok)
     :: else
     fi
#endif
  od
}

active proctype Monitor() {
  byte p;
  timeout -> atomic {
    do :: p < N -> assert(!((state[p] == HOLE || state[p] == OPEN) && victims[p] && DEAD(p))); p++ :: else -> break od }
}
