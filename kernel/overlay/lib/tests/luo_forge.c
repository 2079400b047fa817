// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/luo_forge, for tests of the Live Update Orchestrator.
 *
 * A forge: with liveupdate=off nobody uses the KHO entries "LUO" and "LUO-CONTRACT",
 * and root can compose a handover byte for byte, however broken, for the next kernel:
 *
 *	pwrite of 4096 bytes at i * 4096	fills page i
 *	pread of 8 bytes at i * 8		the physical address of page i
 *	pwrite of "commit", a u64 size		hands over page i as a blob of
 *	    and a u64 i at 1 MiB, the word	that size
 *	    in 16 bytes, zeros at its end
 *	the same with "supplement"		the same for "LUO-CONTRACT"
 *	pread at 2 MiB + p			the bytes at physical address p,
 *						within one page
 *	read					its ID as a decimal number and a
 *						newline; any size but 8 bytes
 *
 * A page is allocated and preserved when it is first touched. In the next
 * kernel the last of these reads shows whether the pages are intact.
 *
 * A file handler: with liveupdate=on the device's own files can be preserved. Each
 * open of the device has an ID, from 1 in the order of the opens since boot; a file
 * that comes from the previous kernel still has the one it had there.
 *
 * Subsystems: forge-a and forge-b, registered on request.
 *
 * The parameters in /sys/module/luo_forge/parameters make callbacks fail or wait on
 * demand and tell which were called. The device polls as EPOLLPRI while a callback
 * waits.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate_subsystem.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

/* The handover's layout knows blocks of 4 KiB, whatever a page is. */
#define FORGE_PAGE	SZ_4K
#define FORGE_PAGES	128
#define FORGE_COMMIT	SZ_1M
#define FORGE_PHYS	SZ_2M

/* What a preserved forge file leaves for the next kernel: this and its ID. */
#define FORGE_COOKIE	0x666f726700000000ULL
#define FORGE_ID	0x00000000ffffffffULL

/* The log of callbacks: what does not fit is lost. */
#define FORGE_LOG	4000

/* A word of that log, and the terminating zero. */
#define FORGE_WORD	32

/* Words with a space between them, and the terminating zero. */
#define FORGE_WORDS	256

/* Protects what has no lock of its own. */
static DEFINE_MUTEX(forge_lock);
static void *forge_pages[FORGE_PAGES];
static u32 forge_last_id;
static char forge_calls[FORGE_LOG];
static size_t forge_calls_len;

/* Protects the words of the callbacks that are to wait and of those that do. */
static DEFINE_SPINLOCK(forge_hold_lock);
static char forge_hold[FORGE_WORDS];
static char forge_held[FORGE_WORDS];

/* Callbacks that wait, and those who poll for that. */
static DECLARE_WAIT_QUEUE_HEAD(forge_queue);

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

/*
 * The begin of each callback, before it does anything: without forge_lock, because
 * it may be held up.
 */
static __printf(1, 2) void forge_enter(const char *format, ...)
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

/* Page @index, allocated on first use. */
static void *forge_page(u64 index)
{
	void *page;

	lockdep_assert_held(&forge_lock);

	if (index >= FORGE_PAGES)
		return ERR_PTR(-EINVAL);

	if (!forge_pages[index]) {
		page = kho_alloc_preserve(FORGE_PAGE);
		if (IS_ERR(page))
			return page;
		forge_pages[index] = page;
	}

	return forge_pages[index];
}

static int forge_commit(const char __user *buf, size_t count)
{
	struct {
		char word[16];
		u64 size;
		u64 page;
	} order;
	const char *name;
	void *root;

	if (count != sizeof(order))
		return -EINVAL;
	if (copy_from_user(&order, buf, sizeof(order)))
		return -EFAULT;
	if (!strncmp(order.word, "commit", sizeof(order.word)))
		name = "LUO";
	else if (!strncmp(order.word, "supplement", sizeof(order.word)))
		name = "LUO-CONTRACT";
	else
		return -EINVAL;

	root = forge_page(order.page);
	if (IS_ERR(root))
		return PTR_ERR(root);

	return kho_add_subtree(name, root, order.size);
}

static ssize_t forge_write(struct file *file, const char __user *buf,
			   size_t count, loff_t *pos)
{
	void *page;
	int err;

	guard(mutex)(&forge_lock);

	if (*pos == FORGE_COMMIT) {
		err = forge_commit(buf, count);
		return err ?: count;
	}

	if (count != FORGE_PAGE || !IS_ALIGNED(*pos, FORGE_PAGE))
		return -EINVAL;

	page = forge_page(*pos / FORGE_PAGE);
	if (IS_ERR(page))
		return PTR_ERR(page);
	if (copy_from_user(page, buf, FORGE_PAGE))
		return -EFAULT;

	return count;
}

static ssize_t forge_read_address(char __user *buf, size_t count, u64 index)
{
	phys_addr_t phys;
	void *page;
	u64 answer;

	if (count != sizeof(answer))
		return -EINVAL;

	page = forge_page(index);
	if (IS_ERR(page))
		return PTR_ERR(page);

	phys = virt_to_phys(page);
	answer = phys;
	if (copy_to_user(buf, &answer, sizeof(answer)))
		return -EFAULT;

	return count;
}

static ssize_t forge_read_memory(char __user *buf, size_t count, u64 phys)
{
	void *bounce __free(kfree) = NULL;

	if (!IS_ALIGNED(phys, sizeof(u64)) || !count ||
	    offset_in_page(phys) + count > PAGE_SIZE)
		return -EINVAL;
	if (!pfn_valid(PHYS_PFN(phys)))
		return -ENXIO;

	bounce = kmalloc(count, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;

	/* A valid frame may still be missing from the direct map. */
	if (copy_from_kernel_nofault(bounce, phys_to_virt(phys), count))
		return -ENXIO;
	if (copy_to_user(buf, bounce, count))
		return -EFAULT;

	return count;
}

static u32 forge_id(struct file *file)
{
	return (unsigned long)file->private_data;
}

static ssize_t forge_read_id(struct file *file, char __user *buf, size_t count,
			     loff_t *pos)
{
	char text[16];
	int len = scnprintf(text, sizeof(text), "%u\n", forge_id(file));

	return simple_read_from_buffer(buf, count, pos, text, len);
}

static ssize_t forge_read(struct file *file, char __user *buf, size_t count,
			  loff_t *pos)
{
	guard(mutex)(&forge_lock);

	if (*pos >= FORGE_PHYS)
		return forge_read_memory(buf, count, *pos - FORGE_PHYS);
	if (count != sizeof(u64))
		return forge_read_id(file, buf, count, pos);
	if (!IS_ALIGNED(*pos, sizeof(u64)))
		return -EINVAL;

	return forge_read_address(buf, count, *pos / sizeof(u64));
}

static int forge_open(struct inode *inode, struct file *file)
{
	guard(mutex)(&forge_lock);
	file->private_data = (void *)(unsigned long)++forge_last_id;
	return 0;
}

static __poll_t forge_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &forge_queue, table);

	guard(spinlock)(&forge_hold_lock);
	return forge_held[0] ? EPOLLPRI : 0;
}

static const struct file_operations forge_fops = {
	.owner	= THIS_MODULE,
	.open	= forge_open,
	.read	= forge_read,
	.write	= forge_write,
	.poll	= forge_poll,
	.llseek	= default_llseek,
};

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
	return data & FORGE_ID;
}

static int forge_preserve(struct liveupdate_file_op_args *args)
{
	u32 id = forge_id(args->file);

	forge_enter("preserve:%u", id);
	guard(mutex)(&forge_lock);

	if (preserve_errno && forge_strikes(id))
		return -preserve_errno;

	args->serialized_data = FORGE_COOKIE | id;
	preserved++;
	return 0;
}

static void forge_unpreserve(struct liveupdate_file_op_args *args)
{
	u32 id = forge_id(args->file);

	forge_enter("unpreserve:%u", id);
	guard(mutex)(&forge_lock);
	WARN_ON(args->serialized_data != (FORGE_COOKIE | id));
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
	struct file *file;

	forge_enter("retrieve:%u", id);
	guard(mutex)(&forge_lock);

	if (retrieve_errno && forge_strikes(id))
		return -retrieve_errno;
	if ((args->serialized_data & ~FORGE_ID) != FORGE_COOKIE)
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

static struct miscdevice forge_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "luo_forge",
	.fops	= &forge_fops,
	.mode	= 0600,
};

/*
 * After the orchestrator's own late initcall: kernel/ is linked before lib/.
 */
static int __init forge_init(void)
{
	int err;

	err = liveupdate_register_file_handler(&forge_handler);
	if (err && err != -EOPNOTSUPP) {
		pr_err("no file handler: %pe\n", ERR_PTR(err));
		return err;
	}

	return misc_register(&forge_device);
}
late_initcall(forge_init);
