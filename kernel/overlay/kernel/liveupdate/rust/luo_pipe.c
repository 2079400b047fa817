// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the handler of pipes needs of them: which pipe an end is of, what the pipe holds, and a
 * pipe that holds the same. What is done with them is decided in luo_core::pipe.
 */
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pipe_fs_i.h>
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

/* Calls each with the bytes of one buffer, which may be on several pages of a folio. */
static int luo_pipe_look_at(struct pipe_buffer *buf, luo_pipe_each each, void *data)
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
		void *mapped = kmap_local_page(page);

		each(data, mapped + offset_in_page(from), here, packet);
		kunmap_local(mapped);
		from += here;
		left -= here;
	}
	return 0;
}

/* What is looked at stays in the pipe, which the caller has locked. */
int luo_pipe_look(struct file *file, u64 *slots, luo_pipe_each each, void *data)
{
	struct pipe_inode_info *pipe = get_pipe_info(file, false);
	unsigned int at;

	lockdep_assert_held(&pipe->mutex);
	*slots = pipe->max_usage;
	for (at = pipe->tail; at != pipe->head; at++) {
		int err = luo_pipe_look_at(pipe_buf(pipe, at), each, data);

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

/* An end of a pipe that somebody has locked, on its way to be closed. */
struct luo_pipe_gone {
	struct work_struct work;
	struct file *file;
};

static struct workqueue_struct *luo_pipe_closers;

static void luo_pipe_close(struct work_struct *work)
{
	struct luo_pipe_gone *gone = container_of(work, typeof(*gone), work);

	__fput_sync(gone->file);
	kfree(gone);
}

/*
 * Who closes an end waits for the pipe's lock, which the user of the other end may have for as
 * long as it likes. Whoever ends the session of that user must not wait so, nor must the one
 * worker that closes files for all kernel threads: a worker of our own does. An end of a pipe that
 * nobody has locked is closed at once, so that its other end hears of it.
 */
void luo_pipe_let_go(struct file *file)
{
	struct luo_pipe_gone *gone;

	if (luo_pipe_trylock(file)) {
		luo_pipe_unlock(file);
		__fput_sync(file);
		return;
	}
	gone = luo_pipe_closers ? kmalloc_obj(*gone) : NULL;
	if (!gone) {
		fput(file);
		return;
	}
	INIT_WORK(&gone->work, luo_pipe_close);
	gone->file = file;
	queue_work(luo_pipe_closers, &gone->work);
}

static int __init luo_pipe_init(void)
{
	luo_pipe_closers = alloc_workqueue("luo_pipes", WQ_UNBOUND, 0);
	return luo_pipe_closers ? 0 : -ENOMEM;
}
subsys_initcall(luo_pipe_init);
