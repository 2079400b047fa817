// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kernel/liveupdate/rust/sys and rust/kernel/liveupdate/sys need of inline functions.
 */
#include <linux/anon_inodes.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>

__rust_helper void *rust_helper_phys_to_virt(phys_addr_t phys)
{
	return phys_to_virt(phys);
}

__rust_helper phys_addr_t rust_helper_virt_to_phys(void *virt)
{
	return virt_to_phys(virt);
}

/*
 * kho_alloc_preserve() of a page, which kho_unpreserve_free() takes back, but charged
 * to the caller's memory cgroup, and failing rather than waking the OOM killer.
 */
__rust_helper void *rust_helper_luo_alloc_preserved_page(void)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |
			  __GFP_NOWARN | __GFP_ZERO;
	struct folio *folio = folio_alloc(gfp, 0);
	int err;

	if (!folio)
		return ERR_PTR(-ENOMEM);
	err = kho_preserve_folio(folio);
	if (err) {
		folio_put(folio);
		return ERR_PTR(err);
	}
	return folio_address(folio);
}

/* A real function or an inline one, as CONFIG_MODULE_UNLOAD has it. */
__rust_helper bool rust_helper_luo_module_get(struct module *module)
{
	return try_module_get(module);
}

__rust_helper void rust_helper_luo_module_put(struct module *module)
{
	module_put(module);
}

/* Built in, or a module whose init is over and that is not on its way out. */
__rust_helper bool rust_helper_luo_module_is_ready(struct module *module)
{
#ifdef CONFIG_MODULES
	return !module || READ_ONCE(module->state) == MODULE_STATE_LIVE;
#else
	return true;
#endif
}

__rust_helper bool rust_helper_luo_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

__rust_helper loff_t rust_helper_luo_i_size_read(const struct inode *inode)
{
	return i_size_read(inode);
}

/* A file of a device that nobody has opened: read and written at any position, as one that was. */
__rust_helper struct file *rust_helper_luo_device_getfile(const char *name,
							  const struct file_operations *fops,
							  void *data, int flags)
{
	return anon_inode_getfile_fmode(name, fops, data, flags, FMODE_PREAD | FMODE_PWRITE);
}

/* Zeroed, and within reach of devices with addresses of 32 bits. */
__rust_helper void *rust_helper_luo_alloc_low_page(void)
{
	struct folio *folio = folio_alloc(GFP_KERNEL | GFP_DMA32 | __GFP_ZERO, 0);

	return folio ? folio_address(folio) : NULL;
}

__rust_helper void rust_helper_luo_free_low_page(void *page)
{
	folio_put(virt_to_folio(page));
}

__rust_helper int rust_helper_luo_preserve_page(void *page)
{
	return kho_preserve_folio(virt_to_folio(page));
}

__rust_helper void rust_helper_luo_unpreserve_page(void *page)
{
	kho_unpreserve_folio(virt_to_folio(page));
}

/* NULL if the previous kernel has preserved no page there. */
__rust_helper void *rust_helper_luo_take_page_back(phys_addr_t phys)
{
	struct folio *folio;

	if (!kho_is_preserved_page(phys))
		return NULL;
	folio = kho_restore_folio(phys);
	return folio ? folio_address(folio) : NULL;
}

/* As the CPU knows a page, and as a device does, these are the same address. */
__rust_helper bool rust_helper_luo_is_mapped_directly(struct device *device, void *page)
{
	dma_addr_t address = dma_map_single(device, page, PAGE_SIZE, DMA_BIDIRECTIONAL);

	if (dma_mapping_error(device, address))
		return false;
	dma_unmap_single(device, address, PAGE_SIZE, DMA_BIDIRECTIONAL);
	return address == virt_to_phys(page);
}

__rust_helper u32 rust_helper_luo_pci_domain(struct pci_dev *dev)
{
	return pci_domain_nr(dev->bus);
}
