/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LUO_PIPE_H
#define _LUO_PIPE_H

#include <linux/types.h>

struct file;

/* What luo_pipe_look() calls for each packet, and for each part of a stream. It does not sleep. */
typedef void (*luo_pipe_each)(void *data, const void *bytes, size_t length,
			      bool packet);

bool luo_pipe_find(struct file *file, u64 *pipe, bool *write);
int luo_pipe_facts(struct file *file, u64 *slots);
bool luo_pipe_trylock(struct file *file);
void luo_pipe_unlock(struct file *file);
int luo_pipe_look(struct file *file, u64 *slots, void *room, luo_pipe_each each,
		  void *data);
int luo_pipe_make(struct file *ends[2], u64 slots, bool packets);
int luo_pipe_put(struct file *write, const void *bytes, size_t length,
		 bool packet);
void luo_pipe_set_nonblock(struct file *file);
void luo_pipe_let_go(struct file *file);

#endif /* _LUO_PIPE_H */
