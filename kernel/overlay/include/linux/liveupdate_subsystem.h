/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_LIVEUPDATE_SUBSYSTEM_H
#define _LINUX_LIVEUPDATE_SUBSYSTEM_H

#include <linux/types.h>

/*
 * Subsystems that take part in live updates without having files: see
 * Documentation/core-api/liveupdate.rst for those that have.
 *
 * Only the orchestrator in Rust (CONFIG_LIVEUPDATE_RUST) has them.
 */

struct module;

/**
 * struct liveupdate_subsystem_ops - Callbacks of a subsystem, all optional.
 * @prepare: An update is being prepared, after all files. Leaves in @data what
 *           the subsystem in the next kernel is to find; 0 if it does nothing. An
 *           error calls the update off: whatever else was done is undone, so
 *           undo what this call did before returning it.
 * @freeze:  Last look before the kexec, after all files; may change @data. An
 *           error calls the update off; @cancel follows.
 * @cancel:  The update is called off. Undoes @prepare, and @freeze if there was
 *           one; @data is what they left.
 * @finish:  The update is over: everything handed over is in its owners' hands
 *           or released. @data is what the previous kernel's @freeze left. Only
 *           called if it left something, once.
 * @owner:   The module with the callbacks, normally THIS_MODULE.
 *
 * Called in the order of registration, @cancel in the reverse. All may sleep.
 * None may register or unregister a subsystem: that waits for the end of the
 * transition that they are a part of. @finish may be called in an open of
 * /dev/liveupdate and must not register or unregister a misc device.
 */
struct liveupdate_subsystem_ops {
	int (*prepare)(void *arg, u64 *data);
	int (*freeze)(void *arg, u64 *data);
	void (*cancel)(void *arg, u64 data);
	void (*finish)(void *arg, u64 data);
	struct module *owner;
};

/**
 * struct liveupdate_subsystem - A subsystem that takes part in live updates.
 * @ops:  The callbacks.
 * @name: By which the next kernel knows it again: 1 to 47 bytes, unique.
 * @arg:  Handed to all callbacks.
 *
 * All of it stays as it is while the subsystem is registered.
 */
struct liveupdate_subsystem {
	const struct liveupdate_subsystem_ops *ops;
	const char *name;
	void *arg;
};

#ifdef CONFIG_LIVEUPDATE_RUST

/**
 * liveupdate_register_subsystem - Take part in live updates from now on.
 * @subsystem: What takes part.
 *
 * Waits for a transition that is under way.
 *
 * Return: 0, or -EINVAL if @subsystem is not complete or its name no name,
 * -EEXIST if the name is taken, -EBUSY if an update is prepared, -ENOSPC if there
 * are too many, -EOPNOTSUPP if live update is off, or -ENOMEM.
 */
int liveupdate_register_subsystem(struct liveupdate_subsystem *subsystem);

/**
 * liveupdate_unregister_subsystem - Take no part any more.
 * @subsystem: What was registered.
 *
 * Waits for a transition that is under way. After -EBUSY the subsystem is still
 * registered and must stay as it is; its module cannot be unloaded.
 *
 * Return: 0, or -EINVAL if it is not registered, -EBUSY if an update is prepared.
 */
int liveupdate_unregister_subsystem(struct liveupdate_subsystem *subsystem);

/**
 * liveupdate_get_subsystem_data - What this subsystem left in the previous kernel.
 * @subsystem: With its name; it need not be registered.
 * @data:      Set on success.
 *
 * Return: 0, or -ENODATA if there is nothing (any more), -EINVAL if @subsystem is
 * not complete or its name no name, -EOPNOTSUPP if live update is off.
 */
int liveupdate_get_subsystem_data(struct liveupdate_subsystem *subsystem,
				  u64 *data);

#else /* CONFIG_LIVEUPDATE_RUST */

#include <linux/errno.h>

static inline int liveupdate_register_subsystem(struct liveupdate_subsystem *subsystem)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_unregister_subsystem(struct liveupdate_subsystem *subsystem)
{
	return -EINVAL;
}

static inline int liveupdate_get_subsystem_data(struct liveupdate_subsystem *subsystem,
						u64 *data)
{
	return -EOPNOTSUPP;
}

#endif /* CONFIG_LIVEUPDATE_RUST */
#endif /* _LINUX_LIVEUPDATE_SUBSYSTEM_H */
