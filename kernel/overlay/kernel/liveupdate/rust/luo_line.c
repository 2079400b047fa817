// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lines of users' steps, which workers of the kernel run, of each line one at a time.
 *
 * A thread that has the engine's lock keeps all others waiting for as long as the scheduler does
 * not let it run, and for how long that is its user can choose: by SCHED_IDLE, by nice values, by
 * many threads that take the processors, by the shares of a control group. None of that counts
 * for a worker. So no thread of a user's ever has that lock, or stands with others for it.
 *
 * One worker goes round the lines and takes a step of each in turn, so one step of all users
 * stands with others for the lock. In a line users take turns, too, so whoever calls waits for one
 * step of each other user, and for those of the same user before it. The worker comes before all
 * usual threads, and what it takes of the processors is counted for no control group: so it rests
 * for as long as it has worked.
 *
 * Who waits here is no hung task, and can be killed where the call may fail.
 */
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sched/cputime.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/time64.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>
#include <linux/workqueue.h>

#include "luo_shim.h"

/* On the stack of who asks for it, and waits. */
struct luo_step {
	/* A user's first step is in its line, and the others of the user stand behind it. */
	struct list_head turn;
	struct list_head behind;
	unsigned int user;
	bool is_first;
	/* No worker has it yet. */
	bool waits;
	luo_shim_step run;
	void *data;
	struct mem_cgroup *charged;
	struct completion done;
};

struct luo_line {
	spinlock_t lock;
	/* The first step of each user. */
	struct list_head turns;
	struct work_struct work;
};

#ifdef CONFIG_LOCKDEP
/* Whoever waits for a step waits for all locks that steps take. */
static struct lockdep_map luo_line_map = STATIC_LOCKDEP_MAP_INIT("luo_line", &luo_line_map);
#endif

static struct luo_line luo_lines[LUO_SHIM_LINES];

/* The worker that goes round the lines, and the one of those who open the device. */
static struct workqueue_struct *luo_line_worker;
static struct workqueue_struct *luo_open_worker;

/* The worker that wakes users who wait: it must be there when memory is short, too. */
struct workqueue_struct *luo_shim_waker;

/* In microseconds: from how much work on there is a rest, and the longest. */
#define LUO_LINE_WORK	2000
#define LUO_LINE_REST	100000

static bool luo_line_is_of_opens(struct luo_line *line)
{
	return line == &luo_lines[LUO_SHIM_LINE_OF_OPENS];
}

static void luo_line_queue(struct luo_line *line)
{
	queue_work(luo_line_is_of_opens(line) ? luo_open_worker : luo_line_worker, &line->work);
}

/*
 * Whose line a task stands in: of its user, by the first user namespace's number. In another
 * namespace it may be whoever the namespace has numbers for: there it is who has made the
 * outermost one and answers for it; or, if root has, who is root in it, which it has not chosen.
 */
unsigned int luo_shim_who_answers(void)
{
	struct user_namespace *ns = current_user_ns();
	kuid_t user = current_euid();

	if (ns != &init_user_ns) {
		while (ns->parent != &init_user_ns)
			ns = ns->parent;
		if (!uid_eq(ns->owner, GLOBAL_ROOT_UID))
			user = ns->owner;
		else if (uid_valid(make_kuid(ns, 0)))
			user = make_kuid(ns, 0);
	}
	return from_kuid(&init_user_ns, user);
}

/* The first step of a user that waits in a line. */
static struct luo_step *luo_line_first_of(struct luo_line *line, unsigned int user)
{
	struct luo_step *step;

	list_for_each_entry(step, &line->turns, turn) {
		if (step->user == user)
			return step;
	}
	return NULL;
}

static void luo_line_join(struct luo_line *line, struct luo_step *step)
{
	struct luo_step *first = luo_line_first_of(line, step->user);

	step->waits = true;
	step->is_first = !first;
	if (first) {
		list_add_tail(&step->behind, &first->behind);
		return;
	}
	INIT_LIST_HEAD(&step->behind);
	list_add_tail(&step->turn, &line->turns);
}

/* Takes a step out. If it was its user's first, the next one of the user is: it is returned. */
static struct luo_step *luo_line_part(struct luo_step *step)
{
	struct luo_step *next = NULL;

	step->waits = false;
	if (step->is_first && !list_empty(&step->behind)) {
		next = list_first_entry(&step->behind, struct luo_step, behind);
		next->is_first = true;
	}
	/* Those behind it are a ring, in which the next one is now the first. */
	list_del(&step->behind);
	return next;
}

/* The step whose turn it is. Its user's next one goes behind those of all others. */
static struct luo_step *luo_line_first(struct luo_line *line, bool *more)
{
	struct luo_step *step, *next;

	spin_lock(&line->lock);
	step = list_first_entry_or_null(&line->turns, struct luo_step, turn);
	if (step) {
		next = luo_line_part(step);
		list_del(&step->turn);
		if (next)
			list_add_tail(&next->turn, &line->turns);
	}
	*more = !list_empty(&line->turns);
	spin_unlock(&line->lock);
	return step;
}

/* Rests for as long as there was work since the last time, once that is worth it. */
static void luo_line_rest(u64 worked)
{
	/* Of one worker, so nobody else looks. */
	static u64 since;
	unsigned long rest;

	since += worked;
	rest = min_t(u64, div_u64(since, NSEC_PER_USEC), LUO_LINE_REST);
	if (rest < LUO_LINE_WORK)
		return;
	since = 0;
	usleep_range(rest, rest + rest / 4);
}

/* One step: then the others in this line go behind those of all other lines. */
static void luo_line_work(struct work_struct *work)
{
	struct luo_line *line = container_of(work, struct luo_line, work);
	u64 begun = task_sched_runtime(current);
	struct luo_step *step;
	bool more;

	step = luo_line_first(line, &more);
	if (step) {
		struct mem_cgroup *before = set_active_memcg(step->charged);

		lock_map_acquire(&luo_line_map);
		step->run(step->data);
		lock_map_release(&luo_line_map);
		set_active_memcg(before);
		/* It is gone as soon as who waits knows. */
		complete(&step->done);
	}
	if (more)
		luo_line_queue(line);
	/* Who opens the device keeps others from opening other devices. */
	if (!luo_line_is_of_opens(line))
		luo_line_rest(task_sched_runtime(current) - begun);
}

/* Takes a step back that no worker has begun. */
static bool luo_line_leave(struct luo_line *line, struct luo_step *step)
{
	struct luo_step *next;
	bool waits, is_first;

	spin_lock(&line->lock);
	waits = step->waits;
	is_first = step->is_first;
	next = waits ? luo_line_part(step) : NULL;
	/* The next one of the user has the place of the first. */
	if (next)
		list_replace(&step->turn, &next->turn);
	else if (waits && is_first)
		list_del(&step->turn);
	spin_unlock(&line->lock);
	return waits;
}

/*
 * Has a user's step run when all that user's before it have, and waits for it, for so many ticks if
 * the number is not negative. False if those are over, or the caller was killed meanwhile: then it
 * has not run. With a negative number it is always run.
 */
bool luo_shim_run_in_line(unsigned int number, unsigned int user, long patience,
			  luo_shim_step run, void *data)
{
	struct luo_line *line = &luo_lines[number % LUO_SHIM_LINES];
	struct luo_step step = {
		.user = user,
		.run = run,
		.data = data,
	};
	bool done = true;

	lock_map_acquire(&luo_line_map);
	lock_map_release(&luo_line_map);
	init_completion(&step.done);
	/* Whoever asks pays for what it takes. */
	step.charged = get_mem_cgroup_from_mm(NULL);
	spin_lock(&line->lock);
	luo_line_join(line, &step);
	spin_unlock(&line->lock);
	luo_line_queue(line);
	if (patience < 0) {
		wait_for_completion_state(&step.done, TASK_IDLE);
	} else if (wait_for_completion_killable_timeout(&step.done, patience) <= 0) {
		done = !luo_line_leave(line, &step);
		/* What a worker has begun must not go before it is done, which will be soon. */
		if (done)
			wait_for_completion_state(&step.done, TASK_IDLE);
	}
	mem_cgroup_put(step.charged);
	return done;
}

static struct workqueue_struct *luo_worker(const char *name, unsigned int flags)
{
	return alloc_ordered_workqueue("%s", WQ_MEM_RECLAIM | flags, name);
}

static void luo_worker_end(struct workqueue_struct **worker)
{
	if (*worker)
		destroy_workqueue(*worker);
	*worker = NULL;
}

/*
 * Before anybody can call. A worker must be there when memory is short: those who give some back
 * wait, too. It comes before programs of the same processor: the engine's lock waits for it.
 */
int luo_shim_set_up_lines(void)
{
	unsigned int number;

	for (number = 0; number < LUO_SHIM_LINES; number++) {
		struct luo_line *line = &luo_lines[number];

		spin_lock_init(&line->lock);
		INIT_LIST_HEAD(&line->turns);
		INIT_WORK(&line->work, luo_line_work);
	}
	luo_line_worker = luo_worker("luo_lines", WQ_HIGHPRI);
	luo_open_worker = luo_worker("luo_opens", WQ_HIGHPRI);
	luo_shim_waker = luo_worker("luo_wakes", 0);
	if (luo_line_worker && luo_open_worker && luo_shim_waker)
		return 0;
	luo_worker_end(&luo_line_worker);
	luo_worker_end(&luo_open_worker);
	luo_worker_end(&luo_shim_waker);
	return -ENOMEM;
}
