/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LUO_PCI_H
#define _LUO_PCI_H

#include <linux/types.h>

struct liveupdate_flb;
struct liveupdate_flb_op_args;

/* Where a device is: luo_core::pci::Place. */
struct luo_pci_place {
	u32 domain;
	u16 bdf;
};

/* A device, and the bridges above it. */
#define LUO_PCI_DEPTH	32

/* What all such drivers share: the table of devices. Its object is the page with it. */
extern struct liveupdate_flb luo_pci_flb;

/* From Rust, for C. */
int luo_rust_pci_flb_preserve(struct liveupdate_flb_op_args *args);
void luo_rust_pci_flb_unpreserve(struct liveupdate_flb_op_args *args);
int luo_rust_pci_flb_retrieve(struct liveupdate_flb_op_args *args);
void luo_rust_pci_flb_finish(struct liveupdate_flb_op_args *args);
int luo_rust_pci_preserve(const struct luo_pci_place *path, unsigned int depth);
void luo_rust_pci_unpreserve(const struct luo_pci_place *path, unsigned int depth);
void luo_rust_pci_finish(const struct luo_pci_place *path, unsigned int depth);
bool luo_rust_pci_is_incoming(struct luo_pci_place place);
bool luo_rust_pci_goes_on(struct luo_pci_place place);
bool luo_rust_pci_had_incoming(void);

#endif /* _LUO_PCI_H */
