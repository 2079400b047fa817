// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the handler of pipes needs of them: which pipe an end is of, what the pipe holds, and a
 * pipe that holds the same. What is done with them is decided in luo_core::pipe.
 */
#include <linux/completion.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/llist.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/pipe_fs_i.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "luo_pipe.h"

/* Named ones, and ends that can both be read and written, are none. */
bool luo_pipe_find(struct file *file, u64 *pipe, bool *write)
{
	fmode_t mode = file->f_mode & (FMODE_READ | FMODE_WRITE);
	struct pipe_inode_info *info = get_pipe_info(file, false);

	if (!info || file_inode(file)->i_sb->s_magic != PIPEFS_MAGIC)
		return false;
	if (mode != FMODE_READ && mode != FMODE_WRITE)
		return false;
	*pipe = (unsigned long)info;
	*write = mode == FMODE_WRITE;
	return true;
}

/* What can be told without the pipe's lock; a pipe is one of notifications from the first. */
int luo_pipe_facts(struct file *file, u64 *slots)
{
	struct pipe_inode_info *pipe = get_pipe_info(file, false);

	if (!pipe)
		return -EINVAL;
	if (pipe_has_watch_queue(pipe))
		return -EOPNOTSUPP;
	*slots = READ_ONCE(pipe->max_usage);
	return 0;
}

/*
 * Who writes to a pipe has this lock while its memory is read, which may be behind a server of
 * its own: for as long as it likes. So nobody waits for it here.
 */
bool luo_pipe_trylock(struct file *file)
{
	struct pipe_inode_info *pipe = get_pipe_info(file, false);

	return pipe && mutex_trylock(&pipe->mutex);
}

void luo_pipe_unlock(struct file *file)
{
	struct pipe_inode_info *pipe = get_pipe_info(file, false);

	mutex_unlock(&pipe->mutex);
}

/*
 * Calls each with the bytes of one buffer, which may be on several pages of a folio. They are
 * copied into the room, of a page, first: whoever has given the pipe a page may write to it still.
 */
static int luo_pipe_look_at(struct pipe_buffer *buf, void *room, luo_pipe_each each, void *data)
{
	bool packet = buf->flags & PIPE_BUF_FLAG_PACKET;
	unsigned int from = buf->offset;
	unsigned int left = buf->len;

	/* A packet is never longer than a page. */
	if (packet && offset_in_page(from) + left > PAGE_SIZE)
		return -EOPNOTSUPP;
	/* A page of a file that is on its way, or gone: who confirms it waits for the page. */
	if (buf->ops->confirm && !folio_test_uptodate(page_folio(buf->page)))
		return -ENODATA;
	while (left) {
		struct page *page = buf->page + (from >> PAGE_SHIFT);
		unsigned int here = min_t(unsigned int, left,
					  PAGE_SIZE - offset_in_page(from));

		/* It has failed since it was written to. */
		if (PageHWPoison(page))
			return -EHWPOISON;
		memcpy_from_page(room, page, offset_in_page(from), here);
		each(data, room, here, packet);
		from += here;
		left -= here;
	}
	return 0;
}

/* What is looked at stays in the pipe, which the caller has locked. */
int luo_pipe_look(struct file *file, u64 *slots, void *room, luo_pipe_each each, void *data)
{
	struct pipe_inode_info *pipe = get_pipe_info(file, false);
	unsigned int at;

	lockdep_assert_held(&pipe->mutex);
	*slots = pipe->max_usage;
	for (at = pipe->tail; at != pipe->head; at++) {
		int err = luo_pipe_look_at(pipe_buf(pipe, at), room, each, data);

		if (err)
			return err;
		cond_resched();
	}
	return 0;
}

/* An empty pipe: the end that is read from comes first. It counts as the caller's. */
int luo_pipe_make(struct file *ends[2], u64 slots, bool packets)
{
	long size;
	int err;

	if (slots > UINT_MAX >> PAGE_SHIFT)
		return -EINVAL;
	err = create_pipe_files(ends, packets ? O_DIRECT : 0);
	if (err)
		return err;
	size = pipe_fcntl(ends[0], F_GETPIPE_SZ, 0);
	if (size != slots << PAGE_SHIFT)
		size = pipe_fcntl(ends[0], F_SETPIPE_SZ, slots << PAGE_SHIFT);
	if (size >= 0)
		return 0;
	fput(ends[0]);
	fput(ends[1]);
	return size;
}

/* Nobody else has the pipe, and there is room: this waits for nobody. */
int luo_pipe_put(struct file *write, const void *bytes, size_t length, bool packet)
{
	unsigned int flags = write->f_flags;
	ssize_t put;

	write->f_flags = (flags & ~O_DIRECT) | O_NONBLOCK | (packet ? O_DIRECT : 0);
	put = kernel_write(write, bytes, length, NULL);
	write->f_flags = flags;
	if (put < 0)
		return put;
	return put == length ? 0 : -ENOMEM;
}

void luo_pipe_set_nonblock(struct file *file)
{
	spin_lock(&file->f_lock);
	file->f_flags |= O_NONBLOCK;
	spin_unlock(&file->f_lock);
}

/* An end of a pipe on its way to be closed. Whoever has let go of it may wait for a moment. */
struct luo_pipe_gone {
	struct delayed_work work;
	struct file *file;
	unsigned long pause;
	struct completion closed;
	refcount_t refs;
};

/* For how long that one waits, in ticks; and how long nobody does after one has waited in vain. */
#define LUO_PIPE_MOMENT		max(HZ / 50, 1)
#define LUO_PIPE_IN_VAIN	HZ

static struct workqueue_struct *luo_pipe_closers;
/* When somebody last waited in vain. */
static unsigned long luo_pipe_vain;

/* Ends for which there was no memory. */
static LLIST_HEAD(luo_pipe_poor);

static void luo_pipe_close_poor(struct work_struct *work)
{
	struct llist_node *all = llist_del_all(&luo_pipe_poor);
	struct file *file, *next;

	llist_for_each_entry_safe(file, next, all, f_llist)
		__fput_sync(file);
}
static DECLARE_WORK(luo_pipe_poor_work, luo_pipe_close_poor);

static void luo_pipe_put_gone(struct luo_pipe_gone *gone)
{
	if (refcount_dec_and_test(&gone->refs))
		kfree(gone);
}

/* Whether nobody has the pipe, nor stands in line and has just been given it. */
static bool luo_pipe_is_free(struct file *file)
{
	struct pipe_inode_info *pipe = get_pipe_info(file, false);

	if (!luo_pipe_trylock(file))
		return false;
	luo_pipe_unlock(file);
	return !mutex_is_locked(&pipe->mutex);
}

/*
 * Closes an end once nobody has the pipe, and looks again later until then: a worker that waited
 * for the lock would be one less for the ends of others.
 */
static void luo_pipe_close(struct work_struct *work)
{
	struct luo_pipe_gone *gone = container_of(to_delayed_work(work), typeof(*gone), work);

	if (!luo_pipe_is_free(gone->file)) {
		gone->pause = clamp(gone->pause * 2, 1UL, (unsigned long)HZ);
		queue_delayed_work(luo_pipe_closers, &gone->work, gone->pause);
		return;
	}
	__fput_sync(gone->file);
	complete(&gone->closed);
	luo_pipe_put_gone(gone);
}

/* Lets go of a reference to a file if there are others; says whether there were. */
static bool luo_pipe_put_one(struct file *file)
{
	/* A count of references is one less than there are. */
	return atomic_long_add_unless(&file->f_ref.refcnt, -1, FILE_REF_ONEREF);
}

/*
 * Who closes an end waits for the pipe's lock, which the user of the other end may have for as
 * long as it likes, or be given again and again by the line that its threads stand in. Whoever
 * ends the session of that user must not wait so, nor must the one worker that closes files for
 * all kernel threads: a worker of our own does it, and of the caller's time it takes a moment,
 * so that the other end has heard of it when the call is over. That moment is not taken for one
 * that is held, and not again soon after one that was in vain.
 */
void luo_pipe_let_go(struct file *file)
{
	struct luo_pipe_gone *gone;
	bool waits;

	if (luo_pipe_put_one(file))
		return;
	waits = time_after(jiffies, READ_ONCE(luo_pipe_vain) + LUO_PIPE_IN_VAIN) &&
		luo_pipe_is_free(file);
	gone = kmalloc_obj(*gone, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!gone) {
		/* The last reference is ours, so nobody else uses what is linked. */
		if (llist_add(&file->f_llist, &luo_pipe_poor))
			queue_work(luo_pipe_closers, &luo_pipe_poor_work);
		return;
	}
	INIT_DELAYED_WORK(&gone->work, luo_pipe_close);
	gone->file = file;
	gone->pause = 0;
	init_completion(&gone->closed);
	refcount_set(&gone->refs, 2);
	queue_delayed_work(luo_pipe_closers, &gone->work, 0);
	if (waits && !wait_for_completion_timeout(&gone->closed, LUO_PIPE_MOMENT))
		WRITE_ONCE(luo_pipe_vain, jiffies);
	luo_pipe_put_gone(gone);
}

static int __init luo_pipe_init(void)
{
	luo_pipe_vain = jiffies - LUO_PIPE_IN_VAIN - 1;
	luo_pipe_closers = alloc_workqueue("luo_pipes", WQ_UNBOUND, 0);
	if (!luo_pipe_closers)
		luo_pipe_closers = system_dfl_wq;
	return 0;
}
subsys_initcall(luo_pipe_init);
