/* A group's cursor is taken over by the next reader of its name while producers that are out of room evict it, because its reader is dead
 * and its grace is over. Readers die at every step, also while they take over or join.
 *
 * Code: evict_if_abandoned and make_room (lib/ring/room.cpp), take_cursor, begin_committed (lib/group/group_table.cpp),
 * PartitionReader::join and settle (lib/bus/partition_reader.cpp).
 * Abstracted: positions and offsets are one number, every record takes one cell; the lock under which a group is taken and the leases
 * make readers follow one another; time has few ticks; memory is sequentially consistent (what fences are for: join.pml).
 *
 * Shown: a reader that lives is not evicted and nothing of its is overwritten; an eviction comes a grace after the death at the earliest;
 * what a successor is told is right: it goes on where the last stopped, or knows exactly what was lost, or begins anew only in a group that
 * has not begun.
 *
 * Mutants: M_UNTIED the note of a death does not carry the generation; M_OWNER_LAST the owner is written after the generation was raised;
 *  M_KEEP the generation is not raised; M_TAKE_STORE taking over stores the state, without comparing; M_EVICT_STORE so does the eviction;
 *  M_BELOW a position below low is taken for good; M_APART a joined cursor is taken for one place with the committed offset;
 *  M_CURSOR_FIRST the cursor moves before the committed offset is stored. */
#ifndef GRACE
#define GRACE 1
#endif
#ifndef TICKS
#define TICKS 2
#endif
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#ifndef LIVES
#define LIVES 3
#endif
#ifndef TOP
#define TOP 2
#endif
#define NONE 255
#define FREE 0
#define ACTIVE 1
#define EVICTED 2
#define SOMEWHERE 254
#define FROM_START 1
#define FROM_COMMITTED 2
#define FROM_EVICTED 3

byte low = 0, used = 0, tick = 0;
/* the cursor's line */
byte generation = 0, status = FREE;   /* one word */
byte position = 0, committed = 0;
byte owner = 0;                       /* 0: none; else which life */
byte since = 0, since_of = 0;         /* one word: tick + 1 of the note (0: none), generation */
byte rejoined = NONE; bool fresh_word = 0;  /* one word */
/* ghosts */
byte life = 0;                        /* who lives now; 0: nobody */
byte held = 0;                        /* the generation that the living holds */
byte died_at[LIVES+2]; bool begun = 0;

#define DEAD(o) ((o) != life)

#ifdef M_UNTIED
#define NOTED(g) (since != 0)
#else
#define NOTED(g) (since != 0 && since_of == (g))
#endif
#ifdef M_EVICT_STORE
#define UNCHANGED(g, s) true
#else
#define UNCHANGED(g, s) (generation == (g) && status == (s))
#endif
#ifdef M_TAKE_STORE
#define STILL(g, s) true
#else
#define STILL(g, s) (generation == (g) && status == (s))
#endif
#ifdef M_BELOW
#define KEPT(p, low) true
#else
#define KEPT(p, low) ((p) >= (low))
#endif
#ifdef M_KEEP
#define NEXT(g) (g)
#else
#define NEXT(g) ((g) + 1)
#endif
#ifdef M_APART
#define APART(r, p) false
#else
#define APART(r, p) ((r) != NONE && ((r) == SOMEWHERE || (r) == (p)))
#endif

inline evict() {
  atomic { g = generation; s = status }
  if
  :: s != ACTIVE -> goto again
  :: else ->
     if :: DEAD(owner) -> skip :: else -> goto next fi;
     n = tick + 1;
     /* the exchange on dead_since */
     atomic { if :: NOTED(g) -> skip :: else -> since = n; since_of = g fi; t = since }
     if :: n >= t + GRACE -> skip :: else -> goto next fi;
     atomic {
       if
       :: UNCHANGED(g, ACTIVE) ->
          assert(held == 0 || held != g);
          assert(tick >= died_at[g] + GRACE);
          generation = g; status = EVICTED
       :: else
       fi }
     goto again
  fi
}

proctype Producer() {
  byte m, l, g, s, n, t, least;
  do
  :: atomic { low < TOP && least == 0 -> least = low + 1 }
again:
     atomic { m = NONE; if :: status == ACTIVE -> m = position :: else fi }   /* two loads in the code: see join.pml */
     if :: m < least -> evict() :: else fi;
     atomic { l = low;
       if :: l < least -> if :: m != NONE -> low = m :: else -> low = least fi :: else fi }  /* and these, two steps at least */
     l = low;
     atomic { m = l; if :: status == ACTIVE && position < m -> m = position :: else fi;
       if :: m > used -> used = m :: else fi }
     assert(held == 0 || m <= position);
next:atomic { least = 0; m = 0; l = 0; g = 0; s = 0; n = 0; t = 0 }
     /* a refused producer comes again when something has changed */
     if :: position > low || status != ACTIVE || (tick < TICKS && DEAD(owner)) || low >= TOP || tick == TICKS fi
  :: low >= TOP -> break
  :: tick == TICKS && status == ACTIVE && position <= low -> break
  od
}

active proctype Clock() { do :: tick < TICKS -> tick++ :: tick == TICKS -> break od }

active proctype Readers() {
  byte next = 1, g, s, p, c, r, y, from; bool apart, fresh, f, goes_on, raised;
  do
  :: next <= LIVES ->
     atomic { life = next; held = 0 }
     /* take_cursor */
#ifndef M_OWNER_LAST
     owner = life; if :: true :: goto dead fi;
#endif
     atomic { since = 0; since_of = 0 }
     if :: true :: goto dead fi;
     atomic { g = generation; s = status }
     c = committed; p = position;
     atomic { r = rejoined; f = fresh_word }
     apart = APART(r, p);
     fresh = ((g == 0 && s == FREE) || (apart && f));
     from = (fresh -> FROM_START : FROM_EVICTED);
     y = low;
     goes_on = 0;
     atomic {
       if
       :: s == ACTIVE && KEPT(p, y) && STILL(g, s) ->
          generation = NEXT(g); status = ACTIVE; goes_on = 1; raised = 1;
          if :: !apart -> from = FROM_COMMITTED :: else fi
       :: else
       fi }
     if
     :: goes_on -> skip
     :: else ->
        if :: true :: goto dead fi;
        atomic { rejoined = SOMEWHERE; fresh_word = fresh }
        if :: true :: goto dead fi;
        p = low;
        do
        :: position = p; if :: true :: goto dead fi;
           atomic { generation = NEXT(g); status = ACTIVE; raised = 1 } if :: true :: goto dead fi;
           y = low;
           if :: y > p -> p = y :: else -> break fi
        od;
        atomic { rejoined = p; fresh_word = fresh }
     fi;
#ifdef M_OWNER_LAST
     if :: true :: goto dead fi;
     owner = life;
#endif
     /* it holds the cursor now, and is told where it begins */
     atomic { held = generation; y = 0;
       assert(used <= position);
       assert(from != FROM_START || !begun);
       assert(from == FROM_START || begun);
       assert(from != FROM_COMMITTED || c >= p) }
     if :: true :: goto dead fi;
     if
     :: from == FROM_START ->
        committed = p; if :: true :: goto dead fi;
        atomic { rejoined = NONE; begun = 1; c = p }
     :: else -> if :: c < p -> c = p :: else fi      /* [c, p) was reported as lost */
     fi;
     if :: true :: goto dead fi;
     do                                             /* settle */
     :: c < TOP ->
        assert(generation == held && status == ACTIVE);
#ifdef M_CURSOR_FIRST
        position = c + 1; if :: true :: goto dead fi; committed = c + 1;
#else
        committed = c + 1; if :: true :: goto dead fi; position = c + 1;
#endif
        c = c + 1;
        if :: true :: goto dead fi
     :: c == TOP -> goto done
     od;
dead:atomic {
       if :: raised -> died_at[generation] = tick; raised = 0 :: else fi;
       life = 0; held = 0; next++;
       g = 0; s = 0; p = 0; c = 0; r = 0; y = 0; from = 0; apart = 0; fresh = 0; f = 0; goes_on = 0 }
  :: next > LIVES -> break
  od;
done: skip
}

init { atomic { run Producer();
#if PRODUCERS > 1
  run Producer();
#endif
} }
