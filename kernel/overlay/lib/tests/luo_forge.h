/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of /dev/luo_forge share.
 */

#ifndef LUO_FORGE_H
#define LUO_FORGE_H

#include <linux/compiler_attributes.h>
#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/types.h>

/* Protects what has no lock of its own. */
extern struct mutex forge_lock;

/* The device's own files. */
extern const struct file_operations forge_fops;

/* The ID of such a file. */
static inline u32 forge_id(struct file *file)
{
	return (unsigned long)file->private_data;
}

/*
 * The begin of each callback, before it does anything: without forge_lock, because
 * it may be held up.
 */
__printf(1, 2) void forge_enter(const char *format, ...);

/* EPOLLPRI while a callback waits. */
__poll_t forge_poll(struct file *file, poll_table *table);

/* Registers the file handler, if live update is on and it is not to come late. */
int forge_register_files(void);

#endif /* LUO_FORGE_H */
