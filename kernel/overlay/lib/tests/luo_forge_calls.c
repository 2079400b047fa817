// SPDX-License-Identifier: GPL-2.0-only
/*
 * The callbacks of /dev/luo_forge's files and subsystems: which were called, and which
 * are to wait.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/kstrtox.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "../../kernel/liveupdate/rust/luo_shim.h"
#include "luo_forge.h"

/* The log of callbacks: what does not fit is lost. */
#define FORGE_LOG	4000

/* A word of that log, and the terminating zero. */
#define FORGE_WORD	32

/* Words with a space between them, and the terminating zero. */
#define FORGE_WORDS	256

/* Protected by forge_lock. */
static char forge_calls[FORGE_LOG];
static size_t forge_calls_len;

/* Protects the words of the callbacks that are to wait and of those that do. */
static DEFINE_SPINLOCK(forge_hold_lock);
static char forge_hold[FORGE_WORDS];
static char forge_held[FORGE_WORDS];

/* Callbacks that wait, and those who poll for that. */
static DECLARE_WAIT_QUEUE_HEAD(forge_queue);

/* Whether each callback is a line of the kernel's log, too. */
static bool print_calls;
module_param(print_calls, bool, 0644);

/* Adds a word to the log. */
static void forge_log(const char *word)
{
	const char *space = forge_calls_len ? " " : "";
	size_t room = sizeof(forge_calls) - forge_calls_len;
	int len;

	lockdep_assert_held(&forge_lock);

	if (print_calls)
		pr_info("%s\n", word);

	len = snprintf(forge_calls + forge_calls_len, room, "%s%s", space, word);

	/* A word that is cut off is worse than one that is missing. */
	if (len < room)
		forge_calls_len += len;
	else
		forge_calls[forge_calls_len] = '\0';
}

/* Whether a word is among others. */
static bool forge_is_among(const char *word, const char *words)
{
	size_t len = strlen(word);
	const char *at;

	for (at = words; (at = strstr(at, word)); at += len) {
		bool begins = at == words || at[-1] == ' ';
		bool ends = !at[len] || at[len] == ' ';

		if (begins && ends)
			return true;
	}

	return false;
}

/* Whether the callback of a word is to wait; then it is one of those that do. */
static bool forge_holds(const char *word)
{
	guard(spinlock)(&forge_hold_lock);
	if (!forge_is_among(word, forge_hold))
		return false;

	/* Each is here once, so there is room for all that are to wait. */
	if (!forge_is_among(word, forge_held)) {
		if (forge_held[0])
			strlcat(forge_held, " ", sizeof(forge_held));
		strlcat(forge_held, word, sizeof(forge_held));
	}
	return true;
}

void forge_enter(const char *format, ...)
{
	char word[FORGE_WORD];
	va_list args;

	va_start(args, format);
	vscnprintf(word, sizeof(word), format, args);
	va_end(args);

	scoped_guard(mutex, &forge_lock)
		forge_log(word);

	if (!forge_holds(word))
		return;

	/* For those who poll. */
	wake_up_all(&forge_queue);
	/* As long as a test likes: nobody is to take it for hung. */
	wait_event_idle(forge_queue, !forge_holds(word));
}

static int forge_hold_get(char *page, const struct kernel_param *param)
{
	guard(spinlock)(&forge_hold_lock);
	return sysfs_emit(page, "%s\n", forge_hold);
}

static int forge_hold_set(const char *value, const struct kernel_param *param)
{
	size_t len = strcspn(value, "\n");

	if (len >= sizeof(forge_hold))
		return -EINVAL;

	scoped_guard(spinlock, &forge_hold_lock) {
		memcpy(forge_hold, value, len);
		forge_hold[len] = '\0';
		forge_held[0] = '\0';
	}
	wake_up_all(&forge_queue);
	return 0;
}

/*
 * The callbacks that are to wait, by their words in the log of calls with a space
 * between them: until something else is written, for example nothing. No signal ends
 * that.
 */
static const struct kernel_param_ops forge_hold_ops = {
	.get = forge_hold_get,
	.set = forge_hold_set,
};
module_param_cb(hold, &forge_hold_ops, NULL, 0644);

#ifdef CONFIG_LIVEUPDATE_RUST
/* The user in whose line something is to be done. */
static u32 forge_line_user;

static void forge_in_line(void *data)
{
	forge_enter("line:%u", *(u32 *)data);
}

static void forge_line_work(struct work_struct *work)
{
	u32 user = READ_ONCE(forge_line_user);

	luo_shim_run_in_line(user % LUO_SHIM_LINE_OF_OPENS, user, -1, forge_in_line, &user);
}
static DECLARE_WORK(forge_line, forge_line_work);

static int forge_line_set(const char *value, const struct kernel_param *param)
{
	u32 user;
	int err = kstrtou32(value, 0, &user);

	if (err)
		return err;
	WRITE_ONCE(forge_line_user, user);
	queue_work(system_dfl_wq, &forge_line);
	return 0;
}

/* A user in whose line a callback is called, which may have to wait as all others. */
static const struct kernel_param_ops forge_line_ops = {
	.set = forge_line_set,
};
module_param_cb(line, &forge_line_ops, NULL, 0200);
#endif

static int forge_held_get(char *page, const struct kernel_param *param)
{
	guard(spinlock)(&forge_hold_lock);
	return sysfs_emit(page, "%s\n", forge_held);
}

/* Those that wait now, in the order in which they were called. */
static const struct kernel_param_ops forge_held_ops = {
	.get = forge_held_get,
};
module_param_cb(held, &forge_held_ops, NULL, 0444);

static int forge_calls_get(char *page, const struct kernel_param *param)
{
	guard(mutex)(&forge_lock);
	return sysfs_emit(page, "%s\n", forge_calls);
}

static int forge_calls_set(const char *value, const struct kernel_param *param)
{
	guard(mutex)(&forge_lock);
	forge_calls_len = 0;
	forge_calls[0] = '\0';
	return 0;
}

/*
 * The callbacks since the last write, in order, whatever they returned, each as
 * "word:ID" or "word:NAME". can_finish is not among them.
 */
static const struct kernel_param_ops forge_calls_ops = {
	.get = forge_calls_get,
	.set = forge_calls_set,
};
module_param_cb(calls, &forge_calls_ops, NULL, 0644);

__poll_t forge_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &forge_queue, table);

	guard(spinlock)(&forge_hold_lock);
	return forge_held[0] ? EPOLLPRI : 0;
}
