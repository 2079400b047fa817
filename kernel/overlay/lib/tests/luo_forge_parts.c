// SPDX-License-Identifier: GPL-2.0-only
/*
 * What takes part in updates for /dev/luo_forge, and fails on request: a handler of its
 * own files, and two subsystems.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate_subsystem.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sysfs.h>

#include "luo_forge.h"

/* What a preserved forge file leaves for the next kernel: this and its ID. */
#define FORGE_COOKIE	0x666f726700000000ULL
#define FORGE_ID	0x00000000ffffffffULL

/* One that needs another file leaves this, the other's token, and its ID. */
#define FORGE_NEEDS	0x666f726e00000000ULL
#define FORGE_TOKEN	0x00000000ffff0000ULL
#define FORGE_SHORT_ID	0x000000000000ffffULL

/*
 * Positive error numbers; 0 lets the callback succeed. fault_file is the ID of the
 * only file that they strike, 0 for all.
 */
static int fault_file;
module_param(fault_file, int, 0644);
static int preserve_errno;
module_param(preserve_errno, int, 0644);
static int freeze_errno;
module_param(freeze_errno, int, 0644);
static int retrieve_errno;
module_param(retrieve_errno, int, 0644);

/* A descriptor of whoever preserves: fault_file, or each file, needs it; 0 for none. */
static int needs_fd;
module_param(needs_fd, int, 0644);

/* The same for the subsystem forge-b. */
static int subsystem_prepare_errno;
module_param(subsystem_prepare_errno, int, 0644);
static int subsystem_freeze_errno;
module_param(subsystem_freeze_errno, int, 0644);

/* How many files freeze before freeze_errno strikes. */
static int freeze_passes;
module_param(freeze_passes, int, 0644);

/* How many times can_finish is going to refuse. */
static int finish_refusals;
module_param(finish_refusals, int, 0644);

/* Files preserved, and frozen, at present: undoing must bring both to 0. */
static int preserved;
module_param(preserved, int, 0444);
static int frozen;
module_param(frozen, int, 0444);

static bool forge_can_preserve(struct liveupdate_file_handler *handler,
			       struct file *file)
{
	return file->f_op == &forge_fops;
}

/* Whether faults strike the file @id. */
static bool forge_strikes(u32 id)
{
	return !fault_file || fault_file == id;
}

/* The ID in what a file left, which another than us may have written. */
static u32 forge_data_id(u64 data)
{
	if ((data & ~FORGE_ID) == FORGE_NEEDS)
		return data & FORGE_SHORT_ID;
	return data & FORGE_ID;
}

/* What the file @id leaves if it needs another. */
static int forge_need(struct liveupdate_file_op_args *args, u32 id, u64 *data)
{
	struct file *file;
	u64 token;
	int err;

	file = fget(needs_fd);
	if (!file)
		return -EBADF;
	err = liveupdate_get_token_outgoing(args->session, file, &token);
	fput(file);
	if (err)
		return err;
	if (id > FORGE_SHORT_ID || token > FORGE_TOKEN >> 16)
		return -ERANGE;
	*data = FORGE_NEEDS | token << 16 | id;
	return 0;
}

/* Takes what a file needs, which is restored already, and lets it go again. */
static int forge_take_needed(struct liveupdate_file_op_args *args)
{
	u64 token = (args->serialized_data & FORGE_TOKEN) >> 16;
	struct file *file;
	int err;

	err = liveupdate_get_file_incoming(args->session, token, &file);
	if (err)
		return err;
	if (file->f_op == &forge_fops)
		forge_enter("with:%u", forge_id(file));
	else
		forge_enter("with:another");
	fput(file);
	return 0;
}

static int forge_preserve(struct liveupdate_file_op_args *args)
{
	u32 id = forge_id(args->file);
	u64 data = FORGE_COOKIE | id;

	forge_enter("preserve:%u", id);
	if (needs_fd && forge_strikes(id)) {
		int err = forge_need(args, id, &data);

		if (err)
			return err;
	}
	guard(mutex)(&forge_lock);

	if (preserve_errno && forge_strikes(id))
		return -preserve_errno;

	args->serialized_data = data;
	preserved++;
	return 0;
}

static void forge_unpreserve(struct liveupdate_file_op_args *args)
{
	u32 id = forge_id(args->file);

	forge_enter("unpreserve:%u", id);
	guard(mutex)(&forge_lock);
	WARN_ON(forge_data_id(args->serialized_data) != id);
	preserved--;
}

static int forge_freeze(struct liveupdate_file_op_args *args)
{
	u32 id = forge_id(args->file);

	forge_enter("freeze:%u", id);
	guard(mutex)(&forge_lock);

	if (freeze_errno && forge_strikes(id)) {
		if (freeze_passes <= 0)
			return -freeze_errno;
		freeze_passes--;
	}

	frozen++;
	return 0;
}

static void forge_unfreeze(struct liveupdate_file_op_args *args)
{
	forge_enter("unfreeze:%u", forge_id(args->file));
	guard(mutex)(&forge_lock);
	frozen--;
}

static int forge_retrieve(struct liveupdate_file_op_args *args)
{
	u32 id = forge_data_id(args->serialized_data);
	u64 cookie = args->serialized_data & ~FORGE_ID;
	struct file *file;

	forge_enter("retrieve:%u", id);
	if (cookie == FORGE_NEEDS) {
		int err = forge_take_needed(args);

		if (err)
			return err;
	}
	guard(mutex)(&forge_lock);

	if (retrieve_errno && forge_strikes(id))
		return -retrieve_errno;
	if (cookie != FORGE_COOKIE && cookie != FORGE_NEEDS)
		return -EILSEQ;

	file = anon_inode_getfile("[luo_forge]", &forge_fops,
				  (void *)(unsigned long)id, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);

	/* As after an open: each descriptor can be asked for the ID. */
	file->f_mode |= FMODE_PREAD;
	args->file = file;
	return 0;
}

static bool forge_can_finish(struct liveupdate_file_op_args *args)
{
	guard(mutex)(&forge_lock);

	if (finish_refusals <= 0)
		return true;

	finish_refusals--;
	return false;
}

static void forge_finish(struct liveupdate_file_op_args *args)
{
	/* What was left holds no resource. */
	forge_enter("finish:%u", forge_data_id(args->serialized_data));
}

static const struct liveupdate_file_ops forge_file_ops = {
	.can_preserve	= forge_can_preserve,
	.preserve	= forge_preserve,
	.unpreserve	= forge_unpreserve,
	.freeze		= forge_freeze,
	.unfreeze	= forge_unfreeze,
	.retrieve	= forge_retrieve,
	.can_finish	= forge_can_finish,
	.finish		= forge_finish,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler forge_handler = {
	.ops		= &forge_file_ops,
	.compatible	= "forge-v1",
};

/*
 * Whether the handler comes on request and not at boot: the kernel parameter
 * luo_forge.late.
 */
static bool late;
module_param(late, bool, 0444);

int forge_register_files(void)
{
	int err;

	if (late)
		return 0;

	err = liveupdate_register_file_handler(&forge_handler);
	if (!err || err == -EOPNOTSUPP)
		return 0;

	pr_err("no file handler: %pe\n", ERR_PTR(err));
	return err;
}

static int forge_files_register_set(const char *value, const struct kernel_param *param)
{
	bool on;
	int err;

	err = kstrtobool(value, &on);
	if (err)
		return err;
	if (on)
		return liveupdate_register_file_handler(&forge_handler);
	liveupdate_unregister_file_handler(&forge_handler);
	return 0;
}

/* Writing 1 registers the file handler, and 0 unregisters it. */
static const struct kernel_param_ops forge_files_register_ops = {
	.set = forge_files_register_set,
};
module_param_cb(files_register, &forge_files_register_ops, NULL, 0200);

static int forge_subsystem_prepare(void *arg, u64 *data);
static int forge_subsystem_freeze(void *arg, u64 *data);
static void forge_subsystem_cancel(void *arg, u64 data);
static void forge_subsystem_finish(void *arg, u64 data);

static const struct liveupdate_subsystem_ops forge_subsystem_ops = {
	.prepare	= forge_subsystem_prepare,
	.freeze		= forge_subsystem_freeze,
	.cancel		= forge_subsystem_cancel,
	.finish		= forge_subsystem_finish,
	.owner		= THIS_MODULE,
};

static struct forge_subsystem {
	struct liveupdate_subsystem subsystem;
	/* What prepare leaves; freeze makes it one more. */
	u64 data;
	/* Whether the subsystem_*_errno are for this one. */
	bool faulty;
} forge_subsystems[] = {
	{
		.subsystem = {
			.ops	= &forge_subsystem_ops,
			.name	= "forge-a",
			.arg	= &forge_subsystems[0],
		},
		.data = 0xa0,
	},
	{
		.subsystem = {
			.ops	= &forge_subsystem_ops,
			.name	= "forge-b",
			.arg	= &forge_subsystems[1],
		},
		.data = 0xb0,
		.faulty = true,
	},
};

static int forge_subsystem_prepare(void *arg, u64 *data)
{
	struct forge_subsystem *forge = arg;

	forge_enter("prepare:%s", forge->subsystem.name);
	guard(mutex)(&forge_lock);

	if (subsystem_prepare_errno && forge->faulty)
		return -subsystem_prepare_errno;

	*data = forge->data;
	return 0;
}

static int forge_subsystem_freeze(void *arg, u64 *data)
{
	struct forge_subsystem *forge = arg;

	forge_enter("freeze:%s", forge->subsystem.name);
	guard(mutex)(&forge_lock);
	WARN_ON(*data != forge->data);

	if (subsystem_freeze_errno && forge->faulty)
		return -subsystem_freeze_errno;

	*data = forge->data + 1;
	return 0;
}

static void forge_subsystem_cancel(void *arg, u64 data)
{
	struct forge_subsystem *forge = arg;

	forge_enter("cancel:%s", forge->subsystem.name);
	WARN_ON(data != forge->data && data != forge->data + 1);
}

static void forge_subsystem_finish(void *arg, u64 data)
{
	struct forge_subsystem *forge = arg;

	forge_enter("finish:%s", forge->subsystem.name);
	WARN_ON(data != forge->data + 1);
}

static int forge_register(bool on)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(forge_subsystems); i++) {
		struct liveupdate_subsystem *subsystem = &forge_subsystems[i].subsystem;

		if (on)
			err = liveupdate_register_subsystem(subsystem);
		else
			err = liveupdate_unregister_subsystem(subsystem);
		if (err)
			return err;
	}

	return 0;
}

static int forge_register_set(const char *value, const struct kernel_param *param)
{
	bool on;
	int err;

	err = kstrtobool(value, &on);
	if (err)
		return err;

	/*
	 * Without any lock: a transition may be under way, which this waits for, and
	 * that for another parameter.
	 */
	kernel_param_unlock(THIS_MODULE);
	err = forge_register(on);
	kernel_param_lock(THIS_MODULE);
	return err;
}

/*
 * Writing 1 registers both subsystems, forge-a first, and 0 unregisters them. The
 * write returns the first error, and goes no further then.
 */
static const struct kernel_param_ops forge_register_ops = {
	.set = forge_register_set,
};
module_param_cb(subsystem_register, &forge_register_ops, NULL, 0200);

static int forge_data_get(char *page, const struct kernel_param *param)
{
	size_t i;
	int len = 0;

	for (i = 0; i < ARRAY_SIZE(forge_subsystems); i++) {
		struct liveupdate_subsystem *subsystem = &forge_subsystems[i].subsystem;
		const char *space = i ? " " : "";
		u64 data;
		int err;

		err = liveupdate_get_subsystem_data(subsystem, &data);
		if (err == -ENODATA || err == -EOPNOTSUPP)
			len += sysfs_emit_at(page, len, "%s%s=none", space,
					     subsystem->name);
		else if (err)
			return err;
		else
			len += sysfs_emit_at(page, len, "%s%s=%#llx", space,
					     subsystem->name, data);
	}

	return len + sysfs_emit_at(page, len, "\n");
}

/* What the subsystems left in the previous kernel. */
static const struct kernel_param_ops forge_data_ops = {
	.get = forge_data_get,
};
module_param_cb(subsystem_data, &forge_data_ops, NULL, 0444);
