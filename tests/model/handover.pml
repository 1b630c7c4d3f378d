/* A group's members share two partitions: they join, leave and die at every step; whoever finds one dead takes it out; partitions pass from
 * one to another.
 *
 * Code: Membership (lib/group/membership.cpp), GroupFile::change (lib/group/group_file.cpp), take, let_go and renounce (lib/group/cursor.cpp),
 * ConsumerState::rebalance (lib/bus/consumer_group.cpp).
 * Abstracted: the file is replaced in one step (rename), and read in one; the lock falls at a death; the assignor is a fixed rule; waking by
 * changes and the watch for deaths are guards; where in its partition a reader goes on is evict.pml.
 *
 * Shown: no partition is ever read by two that live; a member lets go only of what is no longer meant for it; only what was delivered is
 * committed; when nothing moves any more, each partition is read by the live member for whom it is meant, every record was delivered, and
 * the dead are out. The look at the file once a second is needed only after a death between rename and telling (untold).
 *
 * Mutants: M_FORCE a member takes what is meant for it, whoever has it; M_TAKE_STORE it stores the owner, without comparing;
 *  M_TOLD_FIRST the generation is raised before the file is replaced; M_SEEN_LATE the generation is read after the file;
 *  M_NO_LOCK the file is changed without the lock; M_NO_ASK without the look at the file once a second; M_KEEP_ALL members do not let go. */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef LEAVES
#define LEAVES 1
#endif
#define MEMBERS 3
#define NOBODY 0
#define PROMISE 8
#define WHO(o) ((o) & 7)

bool alive[MEMBERS+1];          /* by id, from 1 */
byte deaths = 0, leaves = 0;
/* the file, and its pulse */
byte present = 0;               /* bit per member */
byte target0 = NOBODY, target1 = NOBODY;
byte generation = 0;
byte lock = NOBODY;
bool untold = 0;                /* ghost: somebody died between rename and telling */
/* per partition: the cursor's owner, the committed offset; ghosts: who reads, what was delivered */
byte owner[2], committed[2], reads[2], delivered[2];

#define HAS(set, m) (((set) >> (m)) & 1)
#define DEAD(m) ((m) == NOBODY || !alive[m])
#define FREE(o) (((o) & PROMISE) || DEAD(WHO(o)))
#ifdef M_FORCE
#define TAKEABLE(o) true
#else
#define TAKEABLE(o) FREE(o)
#endif
#ifdef M_TAKE_STORE
#define SAME(o, was) true
#else
#define SAME(o, was) ((o) == (was))
#endif

inline dies() { if :: true :: deaths < DEATHS -> deaths++; goto dead fi }

inline reap_and_assign() {      /* of the member's copy */
  k = 1;
  do :: k <= MEMBERS -> if :: HAS(n, k) && !alive[k] -> n = n - (1 << k) :: else fi; k++ :: else -> break od;
  t0 = NOBODY; t1 = NOBODY; k = 1;
  do :: k <= MEMBERS ->
        if :: HAS(n, k) && t0 == NOBODY -> t0 = k; t1 = k
           :: HAS(n, k) && t0 != NOBODY && t1 == t0 -> t1 = k
           :: else fi; k++
     :: else -> break od;
  k = 0
}

/* GroupFile::change: adds or removes a member, and takes out the dead. */
inline change(adds, removes) {
#ifndef M_NO_LOCK
  atomic { lock == NOBODY -> lock = me; dies() }
#endif
  atomic { n = present; seen = generation }
  d_step {
    if :: adds -> n = n | (1 << me) :: else fi;
    if :: removes && HAS(n, me) -> n = n - (1 << me) :: else fi;
    reap_and_assign()
  }
#ifdef M_TOLD_FIRST
  atomic { generation = seen + 1; dies() }
  atomic { present = n; target0 = t0; target1 = t1 }
#else
  atomic { present = n; target0 = t0; target1 = t1;
    if :: true :: deaths < DEATHS -> deaths++; untold = 1; goto dead fi }
  atomic { generation = seen + 1 }
#endif
  atomic { seen = seen + 1;
#ifndef M_NO_LOCK
    lock = NOBODY;
#endif
    dies() }
}

inline give(p) {
  atomic { assert(reads[p] == me); assert(t[p] != me); reads[p] = NOBODY; mine[p] = 0;
    if :: WHO(owner[p]) == me && !(owner[p] & PROMISE) -> owner[p] = (t[p] == NOBODY -> NOBODY : t[p] | PROMISE) :: else fi;
    dies() }
}

proctype Member(byte me) {
  byte n, k, seen, t0, t1, o; bool mine[2]; byte t[2];
  atomic { alive[me] = 1 }
  change(true, false);
  atomic { t[0] = t0; t[1] = t1 }
  do
  :: atomic { generation != seen ->                    /* refresh; what it read in change() is newer than seen, or the same */
#ifndef M_SEEN_LATE
       seen = generation }
     atomic {
#endif
       n = present; t[0] = target0; t[1] = target1 }
#ifdef M_SEEN_LATE
     seen = generation;
#endif
     if :: !HAS(n, me) -> assert(false) :: else fi     /* fenced, and lives */
#ifndef M_NO_ASK
  :: atomic { untold && (n != present || t[0] != target0 || t[1] != target1) -> n = present; t[0] = target0; t[1] = target1 }
#endif
#ifndef M_KEEP_ALL
  :: mine[0] && t[0] != me -> give(0)
  :: mine[1] && t[1] != me -> give(1)
#endif
  :: atomic { t[0] == me && !mine[0] && TAKEABLE(owner[0]) -> o = owner[0] }
     atomic { if :: SAME(owner[0], o) -> owner[0] = me; assert(DEAD(reads[0])); reads[0] = me; mine[0] = 1 :: else fi; o = 0; dies() }
  :: atomic { t[1] == me && !mine[1] && TAKEABLE(owner[1]) -> o = owner[1] }
     atomic { if :: SAME(owner[1], o) -> owner[1] = me; assert(DEAD(reads[1])); reads[1] = me; mine[1] = 1 :: else fi; o = 0; dies() }
  :: mine[0] && committed[0] == 0 -> atomic { delivered[0] = 1; dies() } atomic { assert(reads[0] == me); committed[0] = 1 }
  :: mine[1] && committed[1] == 0 -> atomic { delivered[1] = 1; dies() } atomic { assert(reads[1] == me); committed[1] = 1 }
  :: (HAS(n, 1) && DEAD(1)) || (HAS(n, 2) && DEAD(2)) || (HAS(n, 3) && DEAD(3)) ->     /* look_after */
     change(false, false);
     atomic { t[0] = t0; t[1] = t1 }
  :: atomic { leaves < LEAVES -> leaves++; break }
  od;
  change(false, true);
  atomic { t[0] = t0; t[1] = t1 }
  if :: mine[0] -> give(0) :: else fi;
  if :: mine[1] -> give(1) :: else fi;
  /* what was promised to it goes to the next one */
  atomic { if :: owner[0] == (me | PROMISE) -> owner[0] = (t[0] == NOBODY -> NOBODY : t[0] | PROMISE) :: else fi; dies() }
  atomic { if :: owner[1] == (me | PROMISE) -> owner[1] = (t[1] == NOBODY -> NOBODY : t[1] | PROMISE) :: else fi }
dead:
  atomic { alive[me] = 0; if :: lock == me -> lock = NOBODY :: else fi; n = 0; k = 0; t0 = 0; t1 = 0; o = 0; seen = 0;
    mine[0] = 0; mine[1] = 0; t[0] = 0; t[1] = 0 }
}

#define READ(p, target) (reads[p] == (target) && owner[p] == (target) && alive[target] && committed[p] == 1)
active proctype Monitor() {
  timeout ->
  if
  :: alive[1] || alive[2] || alive[3] ->
     assert(READ(0, target0)); assert(READ(1, target1));
     assert(!(HAS(present, 1) && !alive[1]) && !(HAS(present, 2) && !alive[2]) && !(HAS(present, 3) && !alive[3]))
  :: else
  fi;
  assert(committed[0] <= delivered[0] && committed[1] <= delivered[1])
}

init { atomic { run Member(1); run Member(2); run Member(3) } }
