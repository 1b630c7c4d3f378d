/* Sleeping and waking: waiters arm a bit in a set and sleep on their bell, wakers change something and ring. Both die at every step; the
 * place of a dead waiter, bell and stale bits included, is taken by another.
 *
 * Code: WaitSet (lib/ring/wake.h, wake.cpp), Bells::ring and Bell::sleep (lib/platform/bells.cpp), ConsumerState::sleep
 * (lib/bus/consumer.cpp); the steps W1 to W5 and K1 to K6 are those of wake.h.
 * Abstracted: one set with one word of bits; what there is to find is a count that every waiter wants to have seen; the futex word
 * does not wrap. A waker that is stopped for good counts as dead.
 * Memory: sequentially consistent; with -DWEAK what W1, W2 and K1 write becomes visible later, each process's in order, until its fence.
 * That is weaker than x86, where W1 and W2 are visible at once.
 *
 * Shown: when nothing moves any more, no waiter sleeps although there is something that it has not seen. A sleep ends by its time-out only
 * where it must: after a waker has died between K1 and the end of K6, once for each waiter that slept then.
 * DIE_AT=n lets wakers die only at one step (0 before K1, 1 behind K1, 2 behind K2, 3 behind K3, 4 behind K4, 5 behind K5, 6 between the
 * two halves of K6, 7 between two bells, 8 behind all), and NO_TIMEOUT takes the time-out away: it is missed at 1 to 7, not at 0 and 8.
 *
 * CLAIMS: the change is the commit of a claim that was made by a fenced instruction, K0, and there is no K2 (WaitSet::wake_behind_claim). A
 * waiter that finds a claim open does not go to sleep but for a moment. A dead claimer's claim is taken back (stamp.pml).
 *
 * Mutants: M_NO_W3, M_NO_K2 without the fence (WEAK); M_NO_W4 without the second look; M_LATE_RINGS the bell's word is read after W4;
 *  with CLAIMS: M_NO_DOUBT a waiter looks for commits only;
 *  M_SUMMARY_FIRST W2 before W1; M_WORDS_FIRST K5 before K4; M_STORE the bits are stored, not added to the others. */
#ifndef CHANGES
#define CHANGES 1               /* of each waker */
#endif
#ifndef WAITER_DEATHS
#define WAITER_DEATHS 1
#endif
#ifndef WAKER_DEATHS
#define WAKER_DEATHS 1
#endif
#define WAITERS 2
#define WAKERS 2
#ifdef DIE_AT
#define MORTAL(n) ((n) == DIE_AT)
#else
#define MORTAL(n) true
#endif

byte made = 0;                  /* what the waiters look at */
byte made_next[WAKERS];         /* K1 under way */
byte claimed = 0;               /* K0: what is, or will be, made */
byte words = 0; bool summary = 0;
bool w1_next[WAITERS], w2_next[WAITERS];  /* W1 and W2 under way */
bool rung[WAITERS];             /* since the waiter has read its bell's word */
bool asleep[WAITERS];           /* in futex_wait */
bool may_time_out[WAITERS];
byte waiter_deaths = 0, waker_deaths = 0;
byte seen[WAITERS];

#if defined(CLAIMS) && !defined(M_NO_DOUBT)
#define IN_DOUBT (claimed > seen[me])
#else
#define IN_DOUBT false
#endif

#ifdef M_STORE
#define ADD(w, bit) (bit)
#else
#define ADD(w, bit) ((w) | (bit))
#endif

#ifdef WEAK
active proctype Memory() {
end: do
  :: atomic { made_next[0] > 0 -> made++; made_next[0]-- }
  :: atomic { made_next[1] > 0 -> made++; made_next[1]-- }
  :: atomic { w1_next[0] -> words = ADD(words, 1); w1_next[0] = 0 }
  :: atomic { w1_next[1] -> words = ADD(words, 2); w1_next[1] = 0 }
  :: atomic { w2_next[0] && !w1_next[0] -> summary = 1; w2_next[0] = 0 }
  :: atomic { w2_next[1] && !w1_next[1] -> summary = 1; w2_next[1] = 0 }
  od
}
#endif

inline waiter_dies() { if :: true :: waiter_deaths < WAITER_DEATHS -> waiter_deaths++; goto dead fi }
inline waker_dies(n) {
  if
  :: true
  :: MORTAL(n) && waker_deaths < WAKER_DEATHS -> waker_deaths++;
     if :: n == 0 -> claimed-- :: else fi;
#ifdef WEAK
     made = made + made_next[me]; made_next[me] = 0;                 /* what the dead wrote is visible long before a time-out */
#endif
     if
#ifndef NO_TIMEOUT
     :: n > 0 && n < 8 -> d_step { may_time_out[0] = 1; may_time_out[1] = 1 }
#endif
     :: else
     fi;
     goto dead
  fi
}

proctype Waiter(byte me) {
again:
  do
  :: atomic { made > seen[me] -> seen[me] = made }
  :: atomic { made == seen[me] -> rung[me] = 0; waiter_dies() }
#ifdef WEAK
     atomic { w1_next[me] = 1; w2_next[me] = 1; waiter_dies() }      /* W1, W2: the memory does them one by one */
#ifndef M_NO_W3
     atomic { !w1_next[me] && !w2_next[me]; waiter_dies() }
#endif
#else
#ifdef M_SUMMARY_FIRST
     atomic { summary = 1; waiter_dies() }
     atomic { words = ADD(words, 1 << me); waiter_dies() }
#else
     atomic { words = ADD(words, 1 << me); waiter_dies() }           /* W1 */
     atomic { summary = 1; waiter_dies() }                           /* W2 */
#endif
#endif
#ifndef M_NO_W4
     if :: made > seen[me] || IN_DOUBT -> goto again :: made == seen[me] && !IN_DOUBT fi;     /* W4 */
#endif
#ifdef M_LATE_RINGS
     rung[me] = 0;
#endif
     atomic { if :: !rung[me] -> asleep[me] = 1 :: else fi }         /* W5: compared by the kernel */
     if
     :: !asleep[me]
     :: atomic { asleep[me] && may_time_out[me] -> may_time_out[me] = 0; asleep[me] = 0 }
     :: asleep[me] && waiter_deaths < WAITER_DEATHS -> waiter_deaths++; goto dead
     fi
  od;
dead:atomic { asleep[me] = 0; rung[me] = 0; seen[me] = 0 }                  /* another takes the bell over, and reads from the beginning */
  goto again
}

inline ring(i) {
  if
  :: atomic { bits & (1 << i) -> rung[i] = 1; waker_dies(6) }
     atomic { asleep[i] = 0; waker_dies(7) }                         /* the system call; nothing happens if nobody sleeps */
  :: else
  fi
}

proctype Waker(byte me) {
  byte bits, k;
  do
  :: atomic { k < CHANGES -> k++; claimed++; waker_dies(0) }         /* K0 */
#ifdef WEAK
     atomic { made_next[me]++; waker_dies(1) }                       /* K1 */
#if !defined(M_NO_K2) && !defined(CLAIMS)
     atomic { made_next[me] == 0; waker_dies(2) }                    /* K2 */
#endif
#else
     atomic { made++; waker_dies(1) }
#endif
     if
     :: atomic { !summary -> goto done }                             /* K3: nobody */
     :: atomic { summary -> waker_dies(3) }
     fi;
#ifdef M_WORDS_FIRST
     atomic { bits = words; words = 0; waker_dies(4) }
     atomic { summary = 0; waker_dies(5) }
#else
     atomic { if :: summary -> summary = 0 :: else -> goto done fi; waker_dies(4) }  /* K4; another may have been here first */
     atomic { bits = words; words = 0; waker_dies(5) }               /* K5 */
#endif
     ring(0); ring(1);
done:atomic { bits = 0; waker_dies(8) }
  :: k == CHANGES -> break
  od;
dead: bits = 0
}

active proctype Monitor() {
  timeout -> assert(!(asleep[0] && seen[0] < made) && !(asleep[1] && seen[1] < made))
}

init { atomic { run Waiter(0); run Waiter(1); run Waker(0); run Waker(1) } }
