// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/luo_forge, for tests of the Live Update Orchestrator.
 *
 * A forge: with liveupdate=off nobody uses the KHO entry "LUO", and root can
 * compose a handover byte for byte, however broken, for the next kernel:
 *
 *	pwrite of 4096 bytes at i * 4096	fills page i
 *	pread of 8 bytes at i * 8		the physical address of page i
 *	pwrite of "commit\0\0" and a u64 size	hands over page 0 as a blob of
 *	    at 1 MiB				that size
 *	pread at 2 MiB + p			the bytes at physical address p,
 *						within one page
 *
 * A page is allocated and preserved when it is first touched. In the next
 * kernel the last of these reads shows whether the pages are intact.
 *
 * A file handler: with liveupdate=on the device's own files can be preserved,
 * and the module parameters make each callback fail on demand.
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
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

/* The handover's layout knows blocks of 4 KiB, whatever a page is. */
#define FORGE_PAGE	SZ_4K
#define FORGE_PAGES	64
#define FORGE_COMMIT	SZ_1M
#define FORGE_PHYS	SZ_2M

/* What a preserved forge file leaves for the next kernel. */
#define FORGE_COOKIE	0x666f726765763121ULL

/* Protects everything below. */
static DEFINE_MUTEX(forge_lock);
static void *forge_pages[FORGE_PAGES];

/* Positive error numbers; 0 lets the callback succeed. */
static int preserve_errno;
module_param(preserve_errno, int, 0644);
static int freeze_errno;
module_param(freeze_errno, int, 0644);
static int retrieve_errno;
module_param(retrieve_errno, int, 0644);

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
		char word[8];
		u64 size;
	} order;
	void *root;

	if (count != sizeof(order))
		return -EINVAL;
	if (copy_from_user(&order, buf, sizeof(order)))
		return -EFAULT;
	if (memcmp(order.word, "commit\0", sizeof(order.word)))
		return -EINVAL;

	root = forge_page(0);
	if (IS_ERR(root))
		return PTR_ERR(root);

	return kho_add_subtree("LUO", root, order.size);
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

static ssize_t forge_read(struct file *file, char __user *buf, size_t count,
			  loff_t *pos)
{
	guard(mutex)(&forge_lock);

	if (*pos >= FORGE_PHYS)
		return forge_read_memory(buf, count, *pos - FORGE_PHYS);
	if (!IS_ALIGNED(*pos, sizeof(u64)))
		return -EINVAL;

	return forge_read_address(buf, count, *pos / sizeof(u64));
}

static const struct file_operations forge_fops = {
	.owner	= THIS_MODULE,
	.read	= forge_read,
	.write	= forge_write,
	.llseek	= default_llseek,
};

static bool forge_can_preserve(struct liveupdate_file_handler *handler,
			       struct file *file)
{
	return file->f_op == &forge_fops;
}

static int forge_preserve(struct liveupdate_file_op_args *args)
{
	guard(mutex)(&forge_lock);

	if (preserve_errno)
		return -preserve_errno;

	args->serialized_data = FORGE_COOKIE;
	preserved++;
	return 0;
}

static void forge_unpreserve(struct liveupdate_file_op_args *args)
{
	guard(mutex)(&forge_lock);
	WARN_ON(args->serialized_data != FORGE_COOKIE);
	preserved--;
}

static int forge_freeze(struct liveupdate_file_op_args *args)
{
	guard(mutex)(&forge_lock);

	if (freeze_errno && freeze_passes <= 0)
		return -freeze_errno;
	if (freeze_errno)
		freeze_passes--;

	frozen++;
	return 0;
}

static void forge_unfreeze(struct liveupdate_file_op_args *args)
{
	guard(mutex)(&forge_lock);
	frozen--;
}

static int forge_retrieve(struct liveupdate_file_op_args *args)
{
	struct file *file;

	guard(mutex)(&forge_lock);

	if (retrieve_errno)
		return -retrieve_errno;
	if (args->serialized_data != FORGE_COOKIE)
		return -EILSEQ;

	file = anon_inode_getfile("[luo_forge]", &forge_fops, NULL, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);

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
	/* The cookie holds no resource. */
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
