// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the handler of pipes needs of them: which pipe an end is of, what the pipe holds, and a
 * pipe that holds the same. What is done with them is decided in luo_core::pipe.
 */
#include <linux/cleanup.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pipe_fs_i.h>

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

/* Calls each with the bytes of one buffer, which may be on several pages of a folio. */
static int luo_pipe_look_at(struct pipe_buffer *buf, luo_pipe_each each, void *data)
{
	bool packet = buf->flags & PIPE_BUF_FLAG_PACKET;
	unsigned int from = buf->offset;
	unsigned int left = buf->len;

	/* A packet is never longer than a page. */
	if (packet && offset_in_page(from) + left > PAGE_SIZE)
		return -EOPNOTSUPP;
	while (left) {
		struct page *page = buf->page + (from >> PAGE_SHIFT);
		unsigned int here = min_t(unsigned int, left,
					  PAGE_SIZE - offset_in_page(from));
		void *mapped = kmap_local_page(page);
		int err = each(data, mapped + offset_in_page(from), here, packet);

		kunmap_local(mapped);
		if (err)
			return err;
		from += here;
		left -= here;
	}
	return 0;
}

/* What is looked at stays in the pipe. */
int luo_pipe_look(struct file *file, u64 *slots, luo_pipe_each each, void *data)
{
	struct pipe_inode_info *pipe = get_pipe_info(file, false);
	unsigned int at;

	if (!pipe)
		return -EINVAL;
	guard(mutex)(&pipe->mutex);
	if (pipe_has_watch_queue(pipe))
		return -EOPNOTSUPP;
	*slots = pipe->max_usage;
	for (at = pipe->tail; at != pipe->head; at++) {
		struct pipe_buffer *buf = pipe_buf(pipe, at);
		int err = pipe_buf_confirm(pipe, buf);

		if (!err)
			err = luo_pipe_look_at(buf, each, data);
		if (err)
			return err;
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
