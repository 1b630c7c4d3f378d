/* Records that grow: a producer adds values to its own last claim for as long as it is the last.
 *
 * Code: Appender::claim_growing, grow, grown (lib/ring/claim.h), growth_of, granted_to (lib/ring/read.h), end_growth (lib/ring/repair.cpp),
 * walk (lib/ring/room.cpp), PartitionReader::take_settled; the steps G1 to G3 are those of claim.h.
 * Abstracted: a header says whose position it is of instead of a lap, which is the business of stamp.pml, as are holes before C7 and dead
 * owners of those; a value takes a cell; a claim's header is separate from its cells. What is claimed otherwise takes one cell and one offset.
 * Producers that are slow are those that the schedule leaves aside, at any step; DEATHS of them die between G1 and G3, where a value is missing.
 *
 * Shown: a reader is given every value that was published, once, in order, and as it was written; what it is told was never committed was not;
 * a value is never written to cells that somebody else has claimed since; and when nothing moves any more, the reader has everything.
 * LOSSY: nobody holds producers back; they raise `low` over settled records, and the reader, an observer, believes what `low` has not passed.
 *
 * Mutants: M_FILL_FIRST G2 before G1; M_PASS a reader goes on when somebody has claimed behind, whatever is missing;
 *  M_WALK (LOSSY) `low` passes a record that may grow; M_STALE the repairer stores the count that it read before it knew of the death;
 *  M_NO_DEATH it does not ask for one; M_COUNT_FIRST G3 before G2; M_NO_END a claim behind does not end the growing (the tail is not compared). */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef C
#define C 4
#endif
#define NP 2
#ifndef VALUES
#define VALUES 6                /* offsets in all */
#endif
#ifndef GROWN
#define GROWN 2                 /* cells, and most values, of a record that grows */
#endif
#define X(p) ((p) % C)
#define NONE 255

byte tail = C, offset = 0, last = NP;            /* changed together, as by CAS16 */
byte low = C;
/* headers, and what stands in the cells */
byte hpos[C]; bool marked[C]; byte hoff[C]; byte hcells[C]; byte hcount[C]; bool hgrows[C]; bool htorn[C]; byte howner[C];
byte cell[C];
bool alive[NP];
byte deaths = 0;
/* ghosts */
byte claimed_by[C];              /* the position of the claim that has the cell */
bool published[VALUES + 1]; bool missing[VALUES + 1];
byte delivered = 0;

#define VALID(p) (hpos[X(p)] == (p) && marked[X(p)])
#define BEHIND(p) ((p) + hcells[X(p)])
/* as far as can be told: what was granted under the header at p */
#define ENDED(p) (VALID(BEHIND(p)) && hoff[X(BEHIND(p))] - hoff[X(p)] == hcount[X(p)])
#define LACKS(p) (hgrows[X(p)] && !htorn[X(p)] && ( \
   (VALID(BEHIND(p)) && hoff[X(BEHIND(p))] - hoff[X(p)] > hcount[X(p)]) || \
   (tail == BEHIND(p) && offset - hoff[X(p)] > hcount[X(p)])))
#define MAY_GROW(p) (hgrows[X(p)] && !htorn[X(p)] && !ENDED(p))
#ifdef M_PASS
#define HAS_ENDED VALID(behind)
#else
#define HAS_ENDED (VALID(behind) && hoff[X(behind)] - off == count)
#endif
#ifdef M_WALK
#define PASSABLE(p) true
#else
#define PASSABLE(p) (!MAY_GROW(p))
#endif

byte gi;
#define ROOM(n) (offset < VALUES && tail + (n) <= low + C)
inline claim(n) {                /* C1 to C5 */
  p = tail; b = offset; tail = tail + n; offset = offset + 1; last = me;
  gi = 0; do :: gi < n -> claimed_by[X(p + gi)] = p; gi++ :: gi == n -> break od; gi = 0
}
inline fill(at, value) { atomic { assert(claimed_by[X(at)] == p); cell[X(at)] = value } }
inline mark(n, grows) {          /* C6, C7 and the commit of the first value, which fill() has written */
  atomic { hpos[X(p)] = p; hoff[X(p)] = b; hcells[X(p)] = n; hcount[X(p)] = 1; hgrows[X(p)] = grows; htorn[X(p)] = 0; howner[X(p)] = me;
    marked[X(p)] = 1; published[b] = 1 }
}

proctype P(byte me) {
  byte p, b, count, l;
  do
  :: atomic { ROOM(1) -> claim(1) }
     fill(p, b); mark(1, 0)
  :: atomic { ROOM(GROWN) -> claim(GROWN) }
     fill(p, b); mark(GROWN, 1);
     atomic { b = b + 1; count = 1 }
     do
     :: count < GROWN && b < VALUES ->
#ifdef M_FILL_FIRST
        fill(p + count, b);
#endif
        atomic {                 /* G1 */
          if
#ifdef M_NO_END
          :: offset < VALUES -> b = offset; offset = offset + 1
#else
          :: offset == b -> offset = offset + 1    /* of the tail's words the second alone: every claim raises it */
#endif
          :: else -> break
          fi;
          missing[b] = 1 }
        if
        :: true
        :: atomic { deaths < DEATHS -> deaths++; alive[me] = 0; goto dead }
        fi;
#ifdef M_COUNT_FIRST
        atomic { hcount[X(p)] = count + 1; published[b] = 1; missing[b] = 0 }
        fill(p + count, b);
#else
#ifndef M_FILL_FIRST
        fill(p + count, b);      /* G2 */
#endif
        if
        :: true
        :: atomic { deaths < DEATHS -> deaths++; alive[me] = 0; goto dead }
        fi;
        atomic { assert(hpos[X(p)] == p); hcount[X(p)] = count + 1; published[b] = 1; missing[b] = 0 }   /* G3 */
#endif
        if
        :: true
        :: atomic { deaths < DEATHS -> deaths++; alive[me] = 0; goto dead }
        fi;
        count++; b++
     :: true -> break
     od
  :: offset == VALUES -> break
#ifdef LOSSY
  :: atomic { !ROOM(GROWN) && offset < VALUES -> l = low; p = low }    /* the walk, and then low by CAS */
     do
     :: atomic { p < tail && VALID(p) && PASSABLE(p) -> p = BEHIND(p) }
     :: atomic { p >= tail || !VALID(p) || !PASSABLE(p) -> break }
     :: p > l -> break
     od;
     atomic { if :: low == l -> low = p :: else fi; p = 0; l = 0 }
#endif
  od;
dead: skip
}

/* Repairs what a dead producer left, under the lock. */
active proctype Repairer() {
  byte p, word;
  do
  :: atomic { p = NONE; gi = 0;
       do :: gi < C -> if :: marked[gi] && hgrows[gi] && hpos[gi] >= low && LACKS(hpos[gi]) -> p = hpos[gi] :: else fi; gi++ :: gi == C -> break od;
       gi = 0; p != NONE -> word = hcount[X(p)] }
#ifndef M_NO_DEATH
     if :: !alive[howner[X(p)]] :: alive[howner[X(p)]] -> goto next fi;
#endif
#ifndef M_STALE
     atomic { if :: hpos[X(p)] == p && LACKS(p) -> word = hcount[X(p)] :: else -> goto next fi }
#endif
     if :: low <= p :: else -> goto next fi;
     atomic { assert(hpos[X(p)] == p); hcount[X(p)] = word; htorn[X(p)] = 1 }
next: p = 0; word = 0
  od
}

/* A reader: the only one of its group, and its cursor is low; with LOSSY an observer. */
active proctype Reader() {
  byte p = C, e = 0, off, count, behind, value; bool grows, hole, torn, ended;
  do
  :: atomic { VALID(p) -> off = hoff[X(p)]; behind = BEHIND(p); count = hcount[X(p)]; grows = hgrows[X(p)]; torn = htorn[X(p)] }
     /* the header behind is looked at after the count */
     ended = !grows || torn || HAS_ENDED;
#ifdef LOSSY
     if :: low > p -> goto lapped :: else fi;
#endif
     if
     :: hole && off > e ->       /* behind a torn one: these were never committed */
        atomic { gi = e; do :: gi < off -> assert(missing[gi]); gi++ :: gi == off -> break od; gi = 0; e = off; hole = 0 }
     :: else -> hole = 0
     fi;
     do
     :: e < off + count ->
        assert(e >= off);
        value = cell[X(p + e - off)];
#ifdef LOSSY
        if :: low > p -> goto lapped :: else fi;
#endif
        atomic { assert(value == e && published[e]); e++; delivered++ }
     :: e >= off + count -> break
     od;
     if
     :: ended && (e == off + count || torn) ->
        atomic { p = behind; hole = torn;
#ifndef LOSSY
          low = p
#endif
        }
     :: else
     fi;
     atomic { off = 0; count = 0; behind = 0; value = 0; grows = 0; torn = 0; ended = 0 }
#ifdef LOSSY
  :: low > p ->
lapped: atomic { p = low; hole = 0; if :: VALID(p) -> e = hoff[X(p)] :: else -> break fi; off = 0; count = 0; behind = 0; value = 0 }
#endif
  od
}

#ifndef LOSSY
active proctype Monitor() {
  byte i, want;
  timeout -> d_step { i = 0; want = 0; do :: i < offset -> want = want + published[i]; i++ :: i >= offset -> break od; assert(delivered == want) }
}
#endif

init { atomic { alive[0] = 1; alive[1] = 1; gi = 0; do :: gi < C -> hpos[gi] = NONE; claimed_by[gi] = NONE; gi++ :: gi == C -> break od; gi = 0; run P(0); run P(1) } }
