// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/luo_forge, for tests of the Live Update Orchestrator.
 *
 * A forge: root can compose a handover byte for byte, however broken, for the next
 * kernel, in the KHO entries "LUO" and "LUO-CONTRACT". With liveupdate=off nobody uses
 * them; with liveupdate=on the orchestrator's are taken out first, and what it has to
 * hand over goes nowhere.
 *
 *	pwrite of 4096 bytes at i * 4096	fills page i
 *	pread of 8 bytes at i * 8		the physical address of page i
 *	pwrite of "commit", a u64 size		hands over page i as a blob of
 *	    and a u64 i at 1 MiB, the word	that size
 *	    in 16 bytes, zeros at its end
 *	the same with "supplement"		the same for "LUO-CONTRACT"
 *	"take out", and both numbers		takes out the entries that the
 *						orchestrator has made; the numbers
 *						are not looked at
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
 * that comes from the previous kernel still has the one it had there. With
 * luo_forge.late=1 the handler is not registered at boot but on request, as one in a
 * module that is loaded late.
 *
 * Pages that never come: a splice from the device puts one into a pipe of which reads say
 * ENODATA, as of a page of a file whose server is gone.
 *
 * Subsystems: forge-a and forge-b, registered on request.
 *
 * The parameters in /sys/module/luo_forge/parameters make callbacks fail or wait on
 * demand and tell which were called. The device polls as EPOLLPRI while a callback
 * waits.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/debugfs.h>
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
#include <linux/pipe_fs_i.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#ifdef CONFIG_PCI_LIVEUPDATE
#include "../../kernel/liveupdate/rust/luo_pci.h"
#endif
#include "luo_forge.h"

/* The handover's layout knows blocks of 4 KiB, whatever a page is. */
#define FORGE_PAGE	SZ_4K
#define FORGE_PAGES	256
#define FORGE_COMMIT	SZ_1M
#define FORGE_PHYS	SZ_2M
/* Behind the head of the table of PCI devices. */
#define FORGE_FIRST_DEVICE	48

DEFINE_MUTEX(forge_lock);
static void *forge_pages[FORGE_PAGES];
static u32 forge_last_id;

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

/*
 * Takes an entry out of what is handed over. KHO wants the address of its blob for that,
 * and tells it nobody; its file in debugfs knows.
 */
static void forge_take_out(const char *name)
{
	const struct debugfs_blob_wrapper *blob;
	struct file *file;
	char path[64];

	snprintf(path, sizeof(path), "/sys/kernel/debug/kho/out/sub_fdts/%s", name);
	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file))
		return;
	blob = file_inode(file)->i_private;
	kho_remove_subtree(blob->data);
	filp_close(file, NULL);
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
	if (!strncmp(order.word, "take out", sizeof(order.word))) {
		forge_take_out("LUO");
		forge_take_out("LUO-CONTRACT");
		return 0;
	}
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

static int forge_confirm(struct pipe_inode_info *pipe, struct pipe_buffer *buf)
{
	return -ENODATA;
}

static const struct pipe_buf_operations forge_never_comes = {
	.confirm	= forge_confirm,
	.release	= generic_pipe_buf_release,
	.get		= generic_pipe_buf_get,
};

static ssize_t forge_splice_read(struct file *file, loff_t *pos,
				 struct pipe_inode_info *pipe, size_t count,
				 unsigned int flags)
{
	struct pipe_buffer buf = {
		.len	= min_t(size_t, count, PAGE_SIZE),
		.ops	= &forge_never_comes,
	};

	buf.page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!buf.page)
		return -ENOMEM;

	return add_to_pipe(pipe, &buf);
}

const struct file_operations forge_fops = {
	.owner	= THIS_MODULE,
	.open	= forge_open,
	.read	= forge_read,
	.write	= forge_write,
	.poll	= forge_poll,
	.splice_read = forge_splice_read,
	.llseek	= default_llseek,
};

#ifdef CONFIG_PCI_LIVEUPDATE
static int forge_damage_pci_set(const char *value, const struct kernel_param *param)
{
	void *page;
	int err;

	err = liveupdate_flb_get_outgoing(&luo_pci_flb, &page);
	if (err)
		return err;
	/* Its checksum is wrong then. */
	((u8 *)page)[FORGE_FIRST_DEVICE] ^= 1;
	liveupdate_flb_put_outgoing(&luo_pci_flb);
	return 0;
}

/*
 * A write damages the table of PCI devices that go on in the next kernel, until one
 * more is preserved or none is.
 */
static const struct kernel_param_ops forge_damage_pci_ops = {
	.set = forge_damage_pci_set,
};
module_param_cb(damage_pci, &forge_damage_pci_ops, NULL, 0200);
#endif

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

	err = forge_register_files();
	if (err)
		return err;

	return misc_register(&forge_device);
}
late_initcall(forge_init);
