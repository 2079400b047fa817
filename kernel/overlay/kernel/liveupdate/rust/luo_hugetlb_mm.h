/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LUO_HUGETLB_MM_H
#define _LUO_HUGETLB_MM_H

/*
 * What is otherwise for memfds of huge pages: the files luo_memfd_*.c ask here. See
 * include/linux/liveupdate_files.h for what mm/hugetlb.c and fs/hugetlbfs do.
 */
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/liveupdate_files.h>

struct cgroup_subsys;
struct cgroup_subsys_state;
struct luo_memfd_run;

/* luo_memfd_insert.c, for luo_hugetlb_mm.c. */
struct folio *luo_memfd_compound(u64 frame, unsigned int order);
void luo_memfd_advance(struct luo_memfd_run *run, u64 pages);

/* luo_memfd_group.c, for luo_hugetlb_mm.c. */
struct cgroup_subsys_state *luo_memfd_css(const char *path, struct cgroup_subsys *controller);
bool luo_memfd_memory_has_room(u64 pages);

#ifdef CONFIG_HUGETLBFS
u32 luo_hugetlb_order(struct file *file);
void luo_hugetlb_hold(struct file *file, bool hold);
unsigned int luo_hugetlb_seals(struct file *file);
struct file *luo_hugetlb_make(const char *name, u32 order);
int luo_hugetlb_put(struct file *file, struct luo_memfd_run *run,
		    struct hugetlb_cgroup *group);
bool luo_hugetlb_has_room(struct file *file, struct hugetlb_cgroup *group,
			  u64 pages);
size_t luo_hugetlb_look_group(struct folio *folio, char *path, size_t size);
#else
static inline u32 luo_hugetlb_order(struct file *file)
{
	return 0;
}

static inline void luo_hugetlb_hold(struct file *file, bool hold)
{
}

static inline unsigned int luo_hugetlb_seals(struct file *file)
{
	return 0;
}

static inline struct file *luo_hugetlb_make(const char *name, u32 order)
{
	return ERR_PTR(-ENODEV);
}

static inline int luo_hugetlb_put(struct file *file, struct luo_memfd_run *run,
				  struct hugetlb_cgroup *group)
{
	return -EINVAL;
}

static inline bool luo_hugetlb_has_room(struct file *file,
					struct hugetlb_cgroup *group, u64 pages)
{
	return false;
}

static inline size_t luo_hugetlb_look_group(struct folio *folio, char *path,
					    size_t size)
{
	return 0;
}
#endif

/* The group that pays for a folio's use as a huge page; NULL if none does. */
static inline void *luo_hugetlb_payer(struct folio *folio)
{
#ifdef CONFIG_CGROUP_HUGETLB
	if (folio_test_hugetlb(folio))
		return READ_ONCE(folio->_hugetlb_cgroup);
#endif
	return NULL;
}

#endif /* _LUO_HUGETLB_MM_H */
