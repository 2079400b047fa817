/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_LIVEUPDATE_FILES_H
#define _LINUX_LIVEUPDATE_FILES_H

/*
 * What the handlers of kernel/liveupdate/rust look at and make, where the file that has it
 * keeps it to itself. Each is built with the file whose name it has.
 */
#include <linux/liveupdate_kvm.h>
#include <linux/types.h>

struct file;
struct folio;
struct hugetlb_cgroup;
struct inode;

/* fs/eventfd.c: false if the file is not an eventfd. */
bool luo_eventfd_look(struct file *file, u64 *count, bool *semaphore);
struct file *luo_eventfd_make(u64 count, bool nonblock, bool semaphore);

/* luo_abi::note::Timerfd; times are in nanoseconds. */
struct luo_timerfd {
	u64 ticks;
	u64 left;
	u64 interval;
	u64 wall;
	int clockid;
	bool absolute;
};

/* fs/timerfd.c. */
bool luo_timerfd_is(struct file *file);
int luo_timerfd_look(struct file *file, struct luo_timerfd *timer);
/* The timer goes on at once: it is what it is now. */
struct file *luo_timerfd_make(const struct luo_timerfd *timer, bool nonblock);

/* fs/hugetlbfs/inode.c and mm/hugetlb.c. */
#if defined(CONFIG_LIVEUPDATE_MEMFD_RUST) && defined(CONFIG_HUGETLBFS)
bool luo_hugetlb_is(struct file *file);
bool luo_hugetlb_can(unsigned int order);
int luo_hugetlb_insert(struct inode *inode, struct folio *folio, u64 index,
		       struct hugetlb_cgroup *group);
bool luo_hugetlb_give(struct folio *folio);
/* For mm/hugetlb.c, at boot. */
unsigned long luo_hugetlb_kept(unsigned int order, int node);
#else
static inline bool luo_hugetlb_is(struct file *file)
{
	return false;
}

static inline bool luo_hugetlb_give(struct folio *folio)
{
	return false;
}

static inline unsigned long luo_hugetlb_kept(unsigned int order, int node)
{
	return 0;
}
#endif

/*
 * For a handler in the next kernel, also one in a module. A page that the previous kernel
 * has preserved, at an address that may be any number: where it is mapped, or NULL if no
 * page is kept there. Who has a wrong address from a wrong handover may write to it.
 */
void *liveupdate_handed_page(u64 phys);
/* Gives it to the allocator; nothing happens if no page is kept there. */
void liveupdate_free_handed_page(u64 phys);

/* mm/memcontrol.c: charges folios of one node, all or none of them. */
#ifdef CONFIG_MEMCG
int luo_memcg_charge(struct folio **folios, unsigned int count, gfp_t gfp);
#else
static inline int luo_memcg_charge(struct folio **folios, unsigned int count, gfp_t gfp)
{
	return 0;
}
#endif

#endif /* _LINUX_LIVEUPDATE_FILES_H */
