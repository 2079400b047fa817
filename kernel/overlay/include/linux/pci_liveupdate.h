/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_PCI_LIVEUPDATE_H
#define _LINUX_PCI_LIVEUPDATE_H

#include <linux/types.h>

struct liveupdate_file_handler;
struct pci_dev;

/*
 * PCI devices that go on through a live update. The kexec leaves such a device as it is,
 * and so does the next kernel when it finds it: it may go on reading and writing memory all
 * the while. The bridges above it are left alone with it.
 *
 * Only the orchestrator in Rust (CONFIG_LIVEUPDATE_RUST) has them. The names are those of the
 * series on the kernel's lists.
 */

#ifdef CONFIG_PCI_LIVEUPDATE

/**
 * pci_liveupdate_register_flb - Files of a handler are PCI devices.
 * @handler: The handler, which is registered.
 *
 * What follows is for its callbacks: which devices go on is written down as long as one file of
 * such a handler is preserved.
 *
 * Return: 0, or as of liveupdate_register_flb().
 */
int pci_liveupdate_register_flb(struct liveupdate_file_handler *handler);
void pci_liveupdate_unregister_flb(struct liveupdate_file_handler *handler);

/**
 * pci_liveupdate_preserve - A device is to go on in the next kernel.
 * @dev: The device, which is bound to the caller's driver and stays so.
 *
 * In the kexec the core keeps its bus mastering, and masks its interrupts: where the next kernel
 * wants them is not known. All that it reads and writes has to be preserved memory by then, which
 * the driver sees to. Its interrupts are lost from then on, but not what has caused them.
 *
 * Within .preserve() of the handler.
 *
 * Return: 0, or -EINVAL if it is a virtual function or a bridge, -EBUSY if it is to go on
 * already, -ENOSPC if there are too many, -ENOENT without a file of a handler with
 * pci_liveupdate_register_flb(), -EOPNOTSUPP if live update is off, or -ENOMEM.
 */
int pci_liveupdate_preserve(struct pci_dev *dev);

/**
 * pci_liveupdate_unpreserve - Undoes pci_liveupdate_preserve().
 * @dev: The device.
 */
void pci_liveupdate_unpreserve(struct pci_dev *dev);

/**
 * pci_liveupdate_is_incoming - Whether a device has been running since the previous kernel.
 * @dev: The device.
 *
 * A driver asks in its probe(): it leaves such a device as it is until its file is retrieved.
 * Before pci_enable_device(), which unmasks an interrupt of the old kind, it can see to what the
 * device has to say.
 *
 * Return: true until pci_liveupdate_finish(). False for all if what the previous kernel has
 * left cannot be read: such a device is to be stopped first of all.
 */
bool pci_liveupdate_is_incoming(struct pci_dev *dev);

/**
 * pci_liveupdate_finish - A device from the previous kernel is one like all others now.
 * @dev: The device.
 *
 * Within .finish() of the handler.
 */
void pci_liveupdate_finish(struct pci_dev *dev);

/* For the PCI core. */

/* The device has been found. Says so of one from the previous kernel, and keeps its resources. */
void pci_liveupdate_setup_device(struct pci_dev *dev);
/* Whether bridges keep their bus numbers, because devices have come below them. */
bool pci_liveupdate_keeps_buses(void);
/* In a kexec: masks the interrupts of a device that goes on. False for all others. */
bool pci_liveupdate_shutdown(struct pci_dev *dev);

#else /* CONFIG_PCI_LIVEUPDATE */

#include <linux/errno.h>

static inline int pci_liveupdate_register_flb(struct liveupdate_file_handler *handler)
{
	return -EOPNOTSUPP;
}

static inline void pci_liveupdate_unregister_flb(struct liveupdate_file_handler *handler)
{
}

static inline int pci_liveupdate_preserve(struct pci_dev *dev)
{
	return -EOPNOTSUPP;
}

static inline void pci_liveupdate_unpreserve(struct pci_dev *dev)
{
}

static inline bool pci_liveupdate_is_incoming(struct pci_dev *dev)
{
	return false;
}

static inline void pci_liveupdate_finish(struct pci_dev *dev)
{
}

static inline void pci_liveupdate_setup_device(struct pci_dev *dev)
{
}

static inline bool pci_liveupdate_keeps_buses(void)
{
	return false;
}

static inline bool pci_liveupdate_shutdown(struct pci_dev *dev)
{
	return false;
}

#endif /* CONFIG_PCI_LIVEUPDATE */
#endif /* _LINUX_PCI_LIVEUPDATE_H */
