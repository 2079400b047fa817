/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LUO_SHIM_H
#define _LUO_SHIM_H

#include <linux/types.h>

struct liveupdate_file_handler;

/* From C, for Rust. */
void luo_shim_test_register(struct liveupdate_file_handler *fh);

/* From Rust, for C. */
void luo_rust_enable(bool on);
int luo_rust_early_init(void);
int luo_rust_late_init(void);

#endif /* _LUO_SHIM_H */
