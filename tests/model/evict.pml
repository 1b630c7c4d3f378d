/* A group's cursor passes from reader to reader while producers that are out of room evict it: because its reader is dead and its grace is
 * over, or (STALL) because it lives and has not moved for too long. Readers die at every step, also while they take over or join; or they
 * let go, to nobody or to the next one, who may die before taking it.
 *
 * Code: evict_if_due and make_room (lib/ring/room.cpp), take, resume, begin_committed and let_go (lib/group/cursor.cpp),
 * PartitionReader::join, settle and begin_again (lib/bus/partition_reader.cpp).
 * Abstracted: positions and offsets are one number, every record takes one cell; readers of one partition follow one another (that is
 * handover.pml); time has few ticks; memory is sequentially consistent (what fences are for: join.pml); a note's tag is not hashed.
 *
 * Shown: nothing that a reader holds is overwritten; one that lives is not evicted (with STALL: only if it had not moved for so long when
 * the producer looked), and for a death a grace after it at the earliest; what a successor is told is right: it goes on where the
 * last stopped, or knows exactly what was lost, or begins anew only in a group that has not begun.
 *
 * Mutants: M_UNTIED a note does not say of which generation it is; M_OWNER_LAST the owner is written after the generation was raised;
 *  M_KEEP the generation is not raised; M_TAKE_STORE resuming stores the state, without comparing; M_EVICT_STORE so does the eviction;
 *  M_BELOW a position below low is taken for good; M_APART a joined cursor is taken for one place with the committed offset;
 *  M_CURSOR_FIRST the cursor moves before the committed offset is stored; with STALL: M_ANYWHERE a note does not say of which position it
 *  is; M_CLOCK_LATE the clock
 *  is read after the position; M_CLOCK_ONCE it is not read again for a note. */
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
byte owner = 0;                       /* 0: none; else which life; a promise counts as its owner */
byte since = 0, since_of = 0, since_at = 0; bool since_dead = 0;  /* one word: tick + 1 of the note (0: none), its tag */
byte rejoined = NONE; bool fresh_word = 0;  /* one word */
/* ghosts */
byte life = 0;                        /* who lives now; 0: nobody; one that has let go does not count any more */
byte moved_at = 0;
byte held = 0;                        /* the generation that the living holds */
byte died_at[LIVES+2]; bool begun = 0;

#define DEAD(o) ((o) != life)

#ifdef M_UNTIED
#define SAME_GENERATION(g) true
#else
#define SAME_GENERATION(g) (since_of == (g))
#endif
#ifdef M_ANYWHERE
#define SAME_POSITION(p) true
#else
#define SAME_POSITION(p) (since_at == (p))
#endif
#define NOTED(g, p, d) (since != 0 && SAME_GENERATION(g) && SAME_POSITION(p) && since_dead == (d))
#ifdef STALL
#define PATIENCE(d) ((d) -> GRACE : STALL)
#else
#define PATIENCE(d) GRACE
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
#ifndef M_CLOCK_LATE
  n = tick + 1;
#endif
  atomic { g = generation; s = status }
  if
  :: s != ACTIVE -> goto again
  :: else ->
     atomic { p = position; due = (tick >= moved_at + PATIENCE(false)) }
     d = DEAD(owner);
#ifdef M_CLOCK_LATE
     n = tick + 1;
#endif
     /* the exchange on held_since, with the time as it is now */
#ifdef M_CLOCK_ONCE
     t = n;
#else
     t = tick + 1;
#endif
     atomic { if :: NOTED(g, p, d) && since <= n -> t = since :: else -> since = t; since_of = g; since_at = p; since_dead = d fi }
#ifdef STALL
     if :: n >= t + PATIENCE(d) -> skip :: else -> goto next fi;
#else
     if :: d && n >= t + PATIENCE(d) -> skip :: else -> goto next fi;
#endif
     atomic {
       if
       :: UNCHANGED(g, ACTIVE) ->
          assert(!d || held == 0 || held != g);
          assert(!d || tick >= died_at[g] + GRACE);
          assert(d || due);
          generation = g; status = EVICTED
       :: else
       fi }
     goto again
  fi
}

proctype Producer() {
  byte m, l, g, s, n, t, p, least; bool d, due;
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
     assert(held == 0 || generation != held || status != ACTIVE || m <= position);
next:atomic { least = 0; m = 0; l = 0; g = 0; s = 0; n = 0; t = 0; p = 0; d = 0; due = 0 }
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
     /* take, resume */
resume:
#ifndef M_OWNER_LAST
     atomic { owner = life; if :: true :: goto dead fi }
#endif
     atomic { g = generation; s = status }
     c = committed; p = position;
     atomic { r = rejoined; f = fresh_word }
     atomic { apart = APART(r, p); fresh = ((g == 0 && s == FREE) || (apart && f));
       from = (fresh -> FROM_START : FROM_EVICTED); goes_on = 0; y = low }
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
        atomic { rejoined = SOMEWHERE; fresh_word = fresh; if :: true :: goto dead fi }
        p = low;
        do
        :: atomic { position = p; if :: true :: goto dead fi }
           atomic { generation = NEXT(g); status = ACTIVE; raised = 1; if :: true :: goto dead fi }
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
     atomic { held = g + 1; y = 0;
       assert(generation != g + 1 || status != ACTIVE || used <= position);
       assert(from != FROM_START || !begun);
       assert(from == FROM_START || begun);
       assert(from != FROM_COMMITTED || c >= p) }
     if :: true :: goto dead fi;
     if
     :: from == FROM_START ->
        atomic { committed = p; if :: true :: goto dead fi }
        atomic { rejoined = NONE; begun = 1; c = p }
     :: else -> if :: c < p -> c = p :: else fi      /* [c, p) was reported as lost */
     fi;
     if :: true :: goto dead fi;
     do                                             /* settle */
     :: c < TOP && generation == held && status == ACTIVE ->
#ifdef M_CURSOR_FIRST
        atomic { position = c + 1; if :: true :: goto dead fi } committed = c + 1;
#else
        atomic { committed = c + 1; if :: true :: goto dead fi } atomic { position = c + 1; moved_at = tick }
#endif
        c = c + 1;
        if :: true :: goto dead fi
     :: c == TOP && generation == held -> goto done
#ifdef STALL
     :: c < TOP && (generation != held || status != ACTIVE) ->       /* begin_again, which then resumes */
        atomic { assert(generation == held); held = 0; raised = 0; s = 0; p = 0; r = 0; y = 0; from = 0; apart = 0; fresh = 0 }
        if :: true :: goto dead fi;
        committed = c;
        goto resume
#else
     :: generation != held || status != ACTIVE -> assert(false)      /* evicted, and lives */
#endif
     :: next < LIVES ->                                              /* lets go: the next one is alive already, or nobody is */
        atomic {
          if :: owner = next + 1; life = next + 1 :: owner = 0; life = 0; died_at[generation] = tick fi;
          held = 0; next++; raised = 0; g = 0; s = 0; p = 0; c = 0; r = 0; y = 0; from = 0; apart = 0; fresh = 0; goes_on = 0 }
        if
        :: life == next -> if :: true :: atomic { died_at[generation] = tick; goto dead } fi
        :: else
        fi;
        break
     od;
     goto one_more;
dead:atomic {
       if :: raised -> died_at[generation] = tick; raised = 0 :: else fi;
       life = 0; held = 0; next++;
       g = 0; s = 0; p = 0; c = 0; r = 0; y = 0; from = 0; apart = 0; fresh = 0; f = 0; goes_on = 0 }
one_more: skip
  :: next > LIVES -> break
  od;
done: skip
}

init { atomic { run Producer();
#if PRODUCERS > 1
  run Producer();
#endif
} }
