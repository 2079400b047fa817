// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is otherwise for memfds of huge pages: how a file is held still, who pays, and how
 * pages come into a file. What a huge page is in its pool is done in mm/hugetlb.c.
 */
#include <linux/cgroup.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/kexec_handover.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/page_counter.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <uapi/linux/memfd.h>

#include "luo_hugetlb_mm.h"
#include "luo_memfd_mm.h"

/* The order of each page of a file; 0 if it is not of huge pages. */
u32 luo_hugetlb_order(struct file *file)
{
	return luo_hugetlb_is(file) ? huge_page_order(hstate_file(file)) : 0;
}

/* Whoever changes the file looks at this with its lock, which beginning to hold takes, too. */
void luo_hugetlb_hold(struct file *file, bool hold)
{
	WRITE_ONCE(HUGETLBFS_I(file_inode(file))->still, hold);
}

unsigned int luo_hugetlb_seals(struct file *file)
{
	return HUGETLBFS_I(file_inode(file))->seals;
}

struct file *luo_hugetlb_make(const char *name, u32 order)
{
	if (!luo_hugetlb_can(order))
		return ERR_PTR(-ENODEV);
	return memfd_alloc_file(name, MFD_ALLOW_SEALING | MFD_HUGETLB |
				(order + PAGE_SHIFT) << MFD_HUGE_SHIFT);
}

#ifdef CONFIG_CGROUP_HUGETLB
/* The group with a path that counts huge pages, or NULL; it is held. */
struct hugetlb_cgroup *luo_hugetlb_group(const char *path)
{
	struct cgroup_subsys_state *css = NULL;

	if (!hugetlb_cgroup_disabled())
		css = luo_memfd_css(path, &hugetlb_cgrp_subsys);
	return css ? container_of(css, struct hugetlb_cgroup, css) : NULL;
}

void luo_hugetlb_group_put(struct hugetlb_cgroup *group)
{
	css_put(&group->css);
}

/* Whether the machine pays, which is nobody: for what it carries on. */
static bool luo_hugetlb_is_free(void)
{
#ifdef CONFIG_MEMCG
	if (current->active_memcg && mem_cgroup_is_root(current->active_memcg))
		return true;
#endif
	return hugetlb_cgroup_disabled();
}

/* Who pays where there is no group: the caller's; it is held. */
static struct hugetlb_cgroup *luo_hugetlb_own_group(void)
{
	struct cgroup_subsys_state *css = task_get_css(current, hugetlb_cgrp_id);

	return container_of(css, struct hugetlb_cgroup, css);
}

/*
 * Charges a group for pages, as reservation and as use. A group that goes away looks for what
 * is charged to it after it is marked, so one that is not marked yet when it is charged moves
 * the charge to its parent.
 */
static bool luo_hugetlb_charge_to(struct hugetlb_cgroup *group, int size,
				  unsigned long pages)
{
	struct page_counter *failed;

	if (!page_counter_try_charge(&group->rsvd_hugepage[size], pages, &failed))
		return false;
	/* This charge has a reference of its own. */
	css_get(&group->css);
	if (!page_counter_try_charge(&group->hugepage[size], pages, &failed)) {
		hugetlb_cgroup_uncharge_cgroup_rsvd(size, pages, group);
		return false;
	}
	return true;
}

static void luo_hugetlb_uncharge(struct hugetlb_cgroup *group, int size,
				 unsigned long pages)
{
	hugetlb_cgroup_uncharge_cgroup(size, pages, group);
	hugetlb_cgroup_uncharge_cgroup_rsvd(size, pages, group);
}

/* Charges a group, or if it is going away the caller's. Nobody: NULL. */
static struct hugetlb_cgroup *luo_hugetlb_charge(struct hugetlb_cgroup *group,
						 int size, unsigned long pages)
{
	struct hugetlb_cgroup *own;
	bool charged;

	if (luo_hugetlb_is_free())
		return NULL;
	if (group) {
		if (!luo_hugetlb_charge_to(group, size, pages))
			return ERR_PTR(-ENOMEM);
		smp_mb__after_atomic();
		if (!css_is_dying(&group->css))
			return group;
		luo_hugetlb_uncharge(group, size, pages);
	}
	own = luo_hugetlb_own_group();
	charged = luo_hugetlb_charge_to(own, size, pages);
	/* The caller is in it, so it does not go away before the pages are its. */
	css_put(&own->css);
	return charged ? own : ERR_PTR(-ENOMEM);
}

/* For how many pages there is room below a counter and those that it is in. */
static u64 luo_hugetlb_margin(struct page_counter *counter)
{
	u64 margin = U64_MAX;

	for (; counter; counter = counter->parent) {
		u64 limit = READ_ONCE(counter->max);
		u64 count = page_counter_read(counter);

		margin = min(margin, count < limit ? limit - count : 0);
	}
	return margin;
}

static bool luo_hugetlb_group_has_room(struct hugetlb_cgroup *group, int size,
				       u64 pages)
{
	struct hugetlb_cgroup *own = NULL;
	bool has;

	if (luo_hugetlb_is_free())
		return true;
	if (!group)
		group = own = luo_hugetlb_own_group();
	has = luo_hugetlb_margin(&group->hugepage[size]) >= pages &&
	      luo_hugetlb_margin(&group->rsvd_hugepage[size]) >= pages;
	if (own)
		css_put(&own->css);
	return has;
}

/* The path of the group that a folio is charged to; its length, 0 for none. */
size_t luo_hugetlb_look_group(struct folio *folio, char *path, size_t size)
{
	struct hugetlb_cgroup *group;
	int length = 0;

	if (hugetlb_cgroup_disabled())
		return 0;
	spin_lock_irq(&hugetlb_lock);
	group = hugetlb_cgroup_from_folio(folio);
	if (group && !css_tryget(&group->css))
		group = NULL;
	spin_unlock_irq(&hugetlb_lock);
	if (!group)
		return 0;
	if (group->css.parent)
		length = cgroup_path(group->css.cgroup, path, size);
	css_put(&group->css);
	return length > 0 && length + 1 < (int)size ? length : 0;
}
#else
struct hugetlb_cgroup *luo_hugetlb_group(const char *path)
{
	return NULL;
}

void luo_hugetlb_group_put(struct hugetlb_cgroup *group)
{
}

static struct hugetlb_cgroup *luo_hugetlb_charge(struct hugetlb_cgroup *group,
						 int size, unsigned long pages)
{
	return NULL;
}

static void luo_hugetlb_uncharge(struct hugetlb_cgroup *group, int size,
				 unsigned long pages)
{
}

static bool luo_hugetlb_group_has_room(struct hugetlb_cgroup *group, int size,
				       u64 pages)
{
	return true;
}

size_t luo_hugetlb_look_group(struct folio *folio, char *path, size_t size)
{
	return 0;
}
#endif

/* Whether a memory cgroup pays for huge pages, too. */
static bool luo_hugetlb_is_memory(void)
{
#ifdef CONFIG_MEMCG
	return !mem_cgroup_disabled() &&
	       cgroup_subsys_on_dfl(memory_cgrp_subsys) &&
	       (cgrp_dfl_root.flags & CGRP_ROOT_MEMORY_HUGETLB_ACCOUNTING);
#else
	return false;
#endif
}

/* Whether who is charged for so many pages of a file has room for them. */
bool luo_hugetlb_has_room(struct file *file, struct hugetlb_cgroup *group,
			  u64 pages)
{
	int size = hstate_index(hstate_file(file));

	return luo_hugetlb_group_has_room(group, size, pages) &&
	       (!luo_hugetlb_is_memory() || luo_memfd_memory_has_room(pages));
}

/*
 * Puts the folios of a run into a file, which nobody else knows. Those that are in it are taken
 * off the run, whatever is returned.
 */
int luo_hugetlb_put(struct file *file, struct luo_memfd_run *run,
		    struct hugetlb_cgroup *group)
{
	struct hstate *h = hstate_file(file);
	unsigned long pages = pages_per_huge_page(h);
	int size = hstate_index(h);

	if (run->order != huge_page_order(h))
		return -EINVAL;
	while (run->pages) {
		struct hugetlb_cgroup *charged;
		int err;

		charged = luo_hugetlb_charge(group, size, pages);
		if (IS_ERR(charged))
			return PTR_ERR(charged);
		err = luo_hugetlb_insert(file_inode(file),
					 luo_memfd_compound(run->frame, run->order),
					 run->index, charged);
		if (err) {
			if (charged)
				luo_hugetlb_uncharge(charged, size, pages);
			return err;
		}
		luo_memfd_advance(run, pages);
		cond_resched();
	}
	return 0;
}

/*
 * How many huge pages of an order the previous kernel has kept for files, on a node or on all
 * (NUMA_NO_NODE). Sizes whose pages are not the allocator's ask before there are descriptors of
 * pages; what is there then is memory at least, and Rust looks whether it is what it has to be.
 */
unsigned long __init luo_hugetlb_kept(unsigned int order, int node)
{
	phys_addr_t address;
	size_t size;

	if (kho_retrieve_subtree(LUO_HUGETLB_ENTRY, &address, &size) ||
	    size != PAGE_SIZE || !PAGE_ALIGNED(address))
		return 0;
	if (slab_is_available() ? !kho_is_preserved_page(address) :
				  !memblock_is_region_memory(address, PAGE_SIZE))
		return 0;
	return luo_rust_huge_pages_kept(phys_to_virt(address), order, node);
}
