/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LUO_GUEST_MM_H
#define _LUO_GUEST_MM_H

#include <linux/errno.h>
#include <linux/types.h>

struct file;
struct luo_memfd_facts;
struct luo_memfd_run;

/* Memory of virtual machines (guest_memfd): what is otherwise for it than for memfds. */
#ifdef CONFIG_LIVEUPDATE_KVM_RUST
int luo_guest_become(struct file *file, const struct luo_memfd_facts *facts);
int luo_guest_insert(struct file *file, struct luo_memfd_run *runs, size_t count,
		     gfp_t gfp);
#else
static inline int luo_guest_insert(struct file *file, struct luo_memfd_run *runs,
				   size_t count, gfp_t gfp)
{
	return -EINVAL;
}
#endif

#endif /* _LUO_GUEST_MM_H */
