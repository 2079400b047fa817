// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who pays for the pages of memfds: which group has them in the old kernel, which group of the
 * same path there is in the new one, and whether it has room. Memory cgroups pay for small
 * pages; for huge ones groups of another controller do, of which luo_hugetlb_mm.c knows.
 */
#include <linux/cgroup.h>
#include <linux/kernfs.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "../../../mm/internal.h"
#include "luo_hugetlb_mm.h"
#include "luo_memfd_mm.h"

/* How often a group that is charged is asked to give back what it can do without. */
#define LUO_MEMFD_RECLAIMS 16

/*
 * Writes the path of the group that a page is charged to, to which the caller has a
 * reference; its length, or 0 if that is the group of the machine, if there are none, or if
 * it is too long: a path that is cut names another group.
 */
size_t luo_memfd_look_group(u64 frame, char *path, size_t size)
{
	struct folio *folio = pfn_folio(frame);
	int length = 0;
#ifdef CONFIG_MEMCG
	struct mem_cgroup *group;
#endif

	/* Most machines have memory cgroups that do not count huge pages. */
	if (folio_test_hugetlb(folio)) {
		length = luo_hugetlb_look_group(folio, path, size);
		if (length)
			return length;
	}
#ifdef CONFIG_MEMCG
	group = get_mem_cgroup_from_folio(folio);
	if (group && !mem_cgroup_is_root(group))
		length = cgroup_path(group->css.cgroup, path, size);
	mem_cgroup_put(group);
	if (length + 1 >= (int)size)
		length = 0;
#endif
	return max(length, 0);
}

#ifdef CONFIG_MEMCG
/* Whether one group pays for two folios, to which the caller has references. */
static bool luo_memfd_same_payer(struct folio *one, struct folio *other)
{
	bool same;

	if (luo_hugetlb_payer(one) != luo_hugetlb_payer(other))
		return false;
	if (READ_ONCE(one->memcg_data) == READ_ONCE(other->memcg_data))
		return true;
	/* A group has more than one number for itself, but few. */
	rcu_read_lock();
	same = folio_memcg(one) == folio_memcg(other);
	rcu_read_unlock();
	return same;
}

/*
 * How many pages of a run, from page i on, one after the other, somebody pays for by that number:
 * most of a file is one group's. No single page is a huge one, which others pay for, too.
 */
static u64 luo_memfd_paid_alike(const struct luo_memfd_run *run, u64 i, unsigned long data)
{
	u64 from = i;

	while (!run->order && i < run->pages &&
	       READ_ONCE(pfn_to_page(run->frame + i)->memcg_data) == data)
		i++;
	return i - from;
}

/* The first page of a folio of a run. */
static struct folio *luo_memfd_folio_at(u64 frame)
{
	return (struct folio *)pfn_to_page(frame);
}
#endif

/*
 * Looks who pays for the pages of runs, to which the caller has references, as to those that were
 * looked at before: somebody may have had another group touch a page first.
 */
void luo_memfd_vote(struct luo_memfd_payer *payer, const struct luo_memfd_run *runs,
		    size_t count)
{
	for (; count; runs++, count--) {
		u64 step = 1ULL << runs->order;
		u64 i = 0;

		if (!payer->frame)
			payer->frame = runs->frame;
#ifdef CONFIG_MEMCG
		while (i < runs->pages) {
			struct folio *last = pfn_folio(payer->frame);
			u64 alike = luo_memfd_paid_alike(runs, i, READ_ONCE(last->memcg_data));

			payer->ahead += alike;
			i += alike;
			if (i == runs->pages)
				break;
			if (luo_memfd_same_payer(last, luo_memfd_folio_at(runs->frame + i))) {
				payer->ahead += step;
			} else {
				payer->others += step;
				if (payer->ahead >= step) {
					payer->ahead -= step;
				} else {
					payer->ahead = step - payer->ahead;
					payer->frame = runs->frame + i;
				}
			}
			i += step;
		}
#else
		payer->ahead += runs->pages;
#endif
	}
}

/* How many pages of a run are paid for by who pays for the page with a frame. */
u64 luo_memfd_paid(const struct luo_memfd_run *run, u64 frame)
{
#ifdef CONFIG_MEMCG
	struct folio *last = pfn_folio(frame);
	u64 step = 1ULL << run->order;
	u64 paid = 0;
	u64 i;

	for (i = 0; i < run->pages; i += step) {
		if (luo_memfd_same_payer(last, luo_memfd_folio_at(run->frame + i)))
			paid += step;
	}
	return paid;
#else
	return run->pages;
#endif
}

#ifdef CONFIG_CGROUPS
/*
 * The group with a path from the root of the hierarchy, whichever part of it the caller
 * sees, or NULL; it is held.
 */
static struct cgroup *luo_memfd_cgroup(const char *path)
{
	struct kernfs_node *node = kernfs_walk_and_get(cgrp_dfl_root.cgrp.kn, path);
	struct cgroup *cgroup = NULL;

	if (!node)
		return NULL;
	if (kernfs_type(node) == KERNFS_DIR) {
		rcu_read_lock();
		cgroup = rcu_dereference(*(void __rcu __force **)&node->priv);
		if (cgroup && !cgroup_tryget(cgroup))
			cgroup = NULL;
		rcu_read_unlock();
	}
	kernfs_put(node);
	return cgroup;
}

/*
 * What a controller has for the group with a path, or NULL; it is held. A group that does not
 * count by itself has nothing: another would pay in its place.
 */
struct cgroup_subsys_state *luo_memfd_css(const char *path, struct cgroup_subsys *controller)
{
	struct cgroup_subsys_state *css;
	struct cgroup *cgroup;

	if (!path[0])
		return NULL;
	cgroup = luo_memfd_cgroup(path);
	if (!cgroup)
		return NULL;
	css = cgroup_get_e_css(cgroup, controller);
	if (css && css->cgroup != cgroup) {
		css_put(css);
		css = NULL;
	}
	cgroup_put(cgroup);
	return css;
}
#endif

/* The group with a path that counts memory, or NULL; it is held. */
struct mem_cgroup *luo_memfd_group(const char *path)
{
#ifdef CONFIG_MEMCG
	struct cgroup_subsys_state *css = NULL;

	if (!mem_cgroup_disabled())
		css = luo_memfd_css(path, &memory_cgrp_subsys);
	return css ? mem_cgroup_from_css(css) : NULL;
#else
	return NULL;
#endif
}

void luo_memfd_group_put(struct mem_cgroup *group)
{
	mem_cgroup_put(group);
}

/*
 * Charges what the caller asks for to a group, unless somebody has said already who is
 * charged: the machine is, for what it carries on. What was charged before is returned.
 */
struct mem_cgroup *luo_memfd_charge(struct mem_cgroup *group)
{
	struct mem_cgroup *before = set_active_memcg(group);

	if (before)
		set_active_memcg(before);
	return before;
}

void luo_memfd_charge_again(struct mem_cgroup *before)
{
	set_active_memcg(before);
}

#ifdef CONFIG_MEMCG
/*
 * For how many pages there is room in a group and in those that it is in. In *tightest is the
 * one with the least room, in *most the least that any of them may ever have.
 */
static u64 luo_memfd_margin(struct mem_cgroup *group,
			    struct mem_cgroup **tightest, u64 *most)
{
	u64 margin = U64_MAX;

	*most = U64_MAX;
	for (; group; group = parent_mem_cgroup(group)) {
		u64 limit = READ_ONCE(group->memory.max);
		u64 count = page_counter_read(&group->memory);
		u64 room = count < limit ? limit - count : 0;

		*most = min(*most, limit);
		if (room < margin) {
			margin = room;
			*tightest = group;
		}
	}
	return margin;
}
#endif

/*
 * Whether the memory cgroup that is charged has room for so many pages, now or when its memory
 * is reclaimed. What others ask for meanwhile can make it untrue. What processors have in stock
 * for a group is counted as if it were used, and can be had.
 */
bool luo_memfd_memory_has_room(u64 pages)
{
#ifdef CONFIG_MEMCG
	u64 stock = (u64)MEMCG_CHARGE_BATCH * num_online_cpus();
	unsigned int tries = LUO_MEMFD_RECLAIMS;
	struct mem_cgroup *group, *tightest;
	u64 margin, most;

	if (mem_cgroup_disabled())
		return true;
	/* The nodes of the page cache are charged for, too. */
	pages += (pages >> 8) + 16;
	group = get_mem_cgroup_from_mm(NULL);
	while ((margin = luo_memfd_margin(group, &tightest, &most) + stock) < pages) {
		if (most < pages || !tries-- || fatal_signal_pending(current))
			break;
		/* The group, or those that it is in, are there as long as it is. */
		if (!try_to_free_mem_cgroup_pages(tightest, pages - margin, GFP_KERNEL,
						  MEMCG_RECLAIM_MAY_SWAP, NULL))
			break;
	}
	mem_cgroup_put(group);
	return margin >= pages;
#else
	return true;
#endif
}

/* Whether who is charged for so many pages of a file has room for them. */
bool luo_memfd_payer_has_room(struct file *file, struct hugetlb_cgroup *group,
			      u64 pages)
{
	if (luo_hugetlb_is(file))
		return luo_hugetlb_has_room(file, group, pages);
	return luo_memfd_memory_has_room(pages);
}

#ifndef CONFIG_HUGETLBFS
struct hugetlb_cgroup *luo_hugetlb_group(const char *path)
{
	return NULL;
}

void luo_hugetlb_group_put(struct hugetlb_cgroup *group)
{
}
#endif
