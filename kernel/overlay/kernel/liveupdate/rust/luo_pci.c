// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI devices that go on through a kexec: what of it is in structures of the PCI core. Which
 * devices they are is known to pci.rs.
 */
#include <linux/export.h>
#include <linux/ioport.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>

#include "luo_pci.h"

static const struct liveupdate_flb_ops luo_pci_flb_ops = {
	.preserve	= luo_rust_pci_flb_preserve,
	.unpreserve	= luo_rust_pci_flb_unpreserve,
	.retrieve	= luo_rust_pci_flb_retrieve,
	.finish		= luo_rust_pci_flb_finish,
	.owner		= THIS_MODULE,
};

struct liveupdate_flb luo_pci_flb = {
	.ops		= &luo_pci_flb_ops,
	/* PCI of luo_abi::pci. */
	.compatible	= "luo-pci-v1",
};

static struct luo_pci_place luo_pci_place(struct pci_dev *dev)
{
	return (struct luo_pci_place) {
		.domain	= pci_domain_nr(dev->bus),
		.bdf	= pci_dev_id(dev),
	};
}

/* The device and the bridges above it, the device first. How many they are, or an error. */
static int luo_pci_path(struct pci_dev *dev, struct luo_pci_place *path)
{
	int depth;

	for (depth = 0; dev; dev = pci_upstream_bridge(dev)) {
		if (depth == LUO_PCI_DEPTH)
			return -ENOSPC;
		path[depth++] = luo_pci_place(dev);
	}
	return depth;
}

int pci_liveupdate_register_flb(struct liveupdate_file_handler *handler)
{
	return liveupdate_register_flb(handler, &luo_pci_flb);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_register_flb);

void pci_liveupdate_unregister_flb(struct liveupdate_file_handler *handler)
{
	liveupdate_unregister_flb(handler, &luo_pci_flb);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unregister_flb);

int pci_liveupdate_preserve(struct pci_dev *dev)
{
	struct luo_pci_place path[LUO_PCI_DEPTH];
	int depth;

	/* A virtual function is gone as soon as its physical one is set up anew. */
	if (dev->is_virtfn || dev->hdr_type != PCI_HEADER_TYPE_NORMAL)
		return -EINVAL;
	depth = luo_pci_path(dev, path);
	return depth < 0 ? depth : luo_rust_pci_preserve(path, depth);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_preserve);

void pci_liveupdate_unpreserve(struct pci_dev *dev)
{
	struct luo_pci_place path[LUO_PCI_DEPTH];
	int depth = luo_pci_path(dev, path);

	if (depth > 0)
		luo_rust_pci_unpreserve(path, depth);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unpreserve);

bool pci_liveupdate_is_incoming(struct pci_dev *dev)
{
	return luo_rust_pci_is_incoming(luo_pci_place(dev));
}
EXPORT_SYMBOL_GPL(pci_liveupdate_is_incoming);

void pci_liveupdate_finish(struct pci_dev *dev)
{
	struct luo_pci_place path[LUO_PCI_DEPTH];
	int depth = luo_pci_path(dev, path);

	if (depth > 0)
		luo_rust_pci_finish(path, depth);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_finish);

bool pci_liveupdate_keeps_buses(void)
{
	return luo_rust_pci_had_incoming();
}

void pci_liveupdate_setup_device(struct pci_dev *dev)
{
	struct resource *resource;
	u16 command;
	int i;

	if (!pci_liveupdate_is_incoming(dev))
		return;

	/* Its driver in the previous kernel has told it addresses in there. */
	for (i = 0; i <= PCI_STD_RESOURCE_END; i++) {
		resource = &dev->resource[i];
		if (resource->flags && !(resource->flags & IORESOURCE_UNSET))
			resource->flags |= IORESOURCE_PCI_FIXED;
	}
	pci_read_config_word(dev, PCI_COMMAND, &command);
	pci_info(dev, "has been running since the previous kernel, bus mastering is %s\n",
		 command & PCI_COMMAND_MASTER ? "on" : "off");
}

/* Takes bits out of a register of a capability that a device may not have. */
static void luo_pci_clear(struct pci_dev *dev, u8 capability, int reg, u16 bits)
{
	u16 value;

	if (!capability)
		return;
	pci_read_config_word(dev, capability + reg, &value);
	pci_write_config_word(dev, capability + reg, value & ~bits);
}

bool pci_liveupdate_shutdown(struct pci_dev *dev)
{
	u16 command;

	if (!luo_rust_pci_goes_on(luo_pci_place(dev)))
		return false;

	/*
	 * A message of an interrupt is a write to where this kernel wants it, and a line
	 * that nobody serves is switched off for all that share it.
	 */
	pci_read_config_word(dev, PCI_COMMAND, &command);
	pci_write_config_word(dev, PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
	luo_pci_clear(dev, dev->msi_cap, PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE);
	luo_pci_clear(dev, dev->msix_cap, PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
	pci_info(dev, "goes on running in the next kernel\n");
	return true;
}
