// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages of a file in the new kernel: got back from Kexec HandOver, joined to large folios and
 * put into the page cache by batches, or given to the allocator. For whom, and in which order, is
 * decided in handlers/memfd/half.rs.
 */
#include <linux/fs.h>
#include <linux/huge_mm.h>
#include <linux/kexec_handover.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/xarray.h>

#include "../../../mm/internal.h"
#include "luo_hugetlb_mm.h"
#include "luo_memfd_mm.h"

/*
 * Gets pages back from Kexec HandOver, all or none. The caller has luo_shim_lock_handed():
 * two damaged files may name the same pages, and nobody else looks for them between our look
 * and what comes of it.
 */
bool luo_memfd_get_back(const struct luo_memfd_run *run, u64 step)
{
	u64 i;

	for (i = 0; i < run->pages; i += step) {
		if (!kho_are_preserved_pages(PFN_PHYS(run->frame + i), step))
			return false;
	}
	for (i = 0; i < run->pages; i += step) {
		kho_restore_pages(PFN_PHYS(run->frame + i), step);
		cond_resched();
	}
	return true;
}

/* Makes a folio of single pages that came back; of one that is there, nothing. */
struct folio *luo_memfd_compound(u64 frame, unsigned int order)
{
	struct page *page = pfn_to_page(frame);
	u64 i;

	if (!order || PageHead(page))
		return page_folio(page);
	for (i = 1; i < 1ULL << order; i++)
		set_page_count(page + i, 0);
	prep_compound_page(page, order);
	return page_folio(page);
}

/* The same, for memory that can be mapped in parts. */
static struct folio *luo_memfd_folio(u64 frame, unsigned int order)
{
	return page_rmappable_folio(&luo_memfd_compound(frame, order)->page);
}

/* Undoes what is done to a folio before it is in the page cache. */
static void luo_memfd_undo(struct folio *folio)
{
	mem_cgroup_uncharge(folio);
	folio->mapping = NULL;
	folio_clear_swapbacked(folio);
	__folio_clear_locked(folio);
}

/* Folios that follow each other in one node of the page cache, or a large one. */
struct luo_memfd_batch {
	struct folio *folios[XA_CHUNK_SIZE];
	unsigned int count;
	unsigned int order;
	u64 index;
};

/* Whether a folio belongs into a batch behind what it has. */
static bool luo_memfd_fits(const struct luo_memfd_batch *batch,
			   const struct luo_memfd_run *run)
{
	if (!batch->count)
		return true;
	return !batch->order && !run->order &&
	       run->index == batch->index + batch->count &&
	       (run->index & XA_CHUNK_MASK);
}

/* Puts the folios of a batch into the page cache; how many is in *stored. */
static int luo_memfd_store(struct address_space *mapping,
			   const struct luo_memfd_batch *batch, gfp_t gfp,
			   unsigned int *stored)
{
	XA_STATE(xas, &mapping->i_pages, batch->index);
	u64 last = batch->index + ((u64)batch->count << batch->order) - 1;

	*stored = 0;
	do {
		xas_lock_irq(&xas);
		/* No two may be at one place. */
		xas_set(&xas, batch->index + *stored);
		if (xas_find(&xas, last)) {
			xas_set_err(&xas, -EEXIST);
			xas_unlock_irq(&xas);
			/* Frees what an earlier round has asked for. */
			continue;
		}
		xas_set_order(&xas, batch->index + *stored, batch->order);
		while (*stored < batch->count) {
			xas_store(&xas, batch->folios[*stored]);
			if (xas_error(&xas))
				break;
			mapping->nrpages += 1UL << batch->order;
			if (++*stored < batch->count)
				xas_next(&xas);
		}
		xas_unlock_irq(&xas);
	} while (xas_nomem(&xas, gfp));
	return xas_error(&xas);
}

/* Whether two folios are accounted for at the same places. */
static bool luo_memfd_alike(const struct folio *one, const struct folio *other)
{
	if (folio_nid(one) != folio_nid(other))
		return false;
#ifdef CONFIG_MEMCG
	return one->memcg_data == other->memcg_data;
#else
	return true;
#endif
}

/* Counts folios that are in the page cache now: those that are alike in one go. */
static void luo_memfd_count(const struct luo_memfd_batch *batch,
			    unsigned int stored)
{
	unsigned int from = 0;

	while (from < stored) {
		struct folio *folio = batch->folios[from];
		unsigned int to = from + 1;
		long pages;

		while (to < stored && luo_memfd_alike(folio, batch->folios[to]))
			to++;
		pages = (long)(to - from) << batch->order;
		lruvec_stat_mod_folio(folio, NR_FILE_PAGES, pages);
		lruvec_stat_mod_folio(folio, NR_SHMEM, pages);
		if (folio_test_pmd_mappable(folio))
			lruvec_stat_mod_folio(folio, NR_SHMEM_THPS, pages);
		from = to;
	}
}

/*
 * Puts folios that are in the page cache now where reclaim finds them, those of one list with
 * its lock once. Nobody has made the file's memory unevictable.
 */
static void luo_memfd_add_to_lru(const struct luo_memfd_batch *batch,
				 unsigned int stored)
{
	struct lruvec *lruvec = NULL;
	unsigned int i;

	for (i = 0; i < stored; i++) {
		lruvec = folio_lruvec_relock_irq(batch->folios[i], lruvec);
		lruvec_add_folio(lruvec, batch->folios[i]);
		folio_set_lru(batch->folios[i]);
	}
	if (lruvec)
		lruvec_unlock_irq(lruvec);
}

/* Puts a batch into the file; how many of its folios are in it is in *stored. */
static int luo_memfd_insert_batch(struct inode *inode,
				  struct luo_memfd_batch *batch, gfp_t gfp,
				  unsigned int *stored)
{
	int err = luo_memfd_store(inode->i_mapping, batch, gfp & GFP_RECLAIM_MASK,
				  stored);
	unsigned int i;

	luo_memfd_count(batch, *stored);
	/* The reference that a folio came with is the page cache's now. */
	for (i = 0; i < *stored && batch->order; i++)
		folio_ref_add(batch->folios[i], (1 << batch->order) - 1);
	luo_memfd_add_to_lru(batch, *stored);
	for (i = 0; i < *stored; i++)
		folio_unlock(batch->folios[i]);
	for (; i < batch->count; i++)
		luo_memfd_undo(batch->folios[i]);
	return err;
}

/* Makes the first folio of a run ready for the page cache, and charges somebody for it. */
static struct folio *luo_memfd_ready(struct inode *inode,
				     const struct luo_memfd_run *run, gfp_t gfp)
{
	struct folio *folio = luo_memfd_folio(run->frame, run->order);
	int err;

	__folio_set_locked(folio);
	__folio_set_swapbacked(folio);
	err = mem_cgroup_charge(folio, NULL, gfp);
	if (err) {
		luo_memfd_undo(folio);
		return ERR_PTR(err);
	}
	folio->mapping = inode->i_mapping;
	folio->index = run->index;
	if (run->state == LUO_MEMFD_FRESH)
		folio_clear_uptodate(folio);
	else
		__folio_mark_uptodate(folio);
	folio_set_dirty(folio);
	return folio;
}

void luo_memfd_advance(struct luo_memfd_run *run, u64 pages)
{
	run->index += pages;
	run->frame += pages;
	run->pages -= pages;
}

/*
 * Puts pages that came back into the file, which nobody else knows yet, and which has
 * accounted for them. What is in it is taken off the runs, whatever is returned; the rest
 * is still the caller's, and another try can go on with it. Nobody is killed for the
 * memory that is charged for. Huge pages are charged to the group, or without one to the
 * caller's.
 */
int luo_memfd_insert(struct file *file, struct luo_memfd_run *runs, size_t count,
		     struct hugetlb_cgroup *group)
{
	struct inode *inode = file_inode(file);
	gfp_t gfp = mapping_gfp_mask(inode->i_mapping) | __GFP_RETRY_MAYFAIL |
		    __GFP_NOWARN;
	struct luo_memfd_batch batch;
	size_t at = 0;
	int err = 0;

	if (luo_hugetlb_is(file)) {
		for (; !err && at < count; at++)
			err = luo_hugetlb_put(file, &runs[at], group);
		return err;
	}
	while (!err && at < count) {
		struct luo_memfd_run ahead = runs[at];
		size_t next = at;
		unsigned int stored;
		u64 done;
		int stop;

		/* All of it is in the file, from an earlier try perhaps. */
		if (!ahead.pages) {
			at++;
			continue;
		}
		batch.count = 0;
		batch.order = ahead.order;
		batch.index = ahead.index;
		while (batch.count < ARRAY_SIZE(batch.folios) &&
		       luo_memfd_fits(&batch, &ahead)) {
			struct folio *folio = luo_memfd_ready(inode, &ahead, gfp);

			if (IS_ERR(folio)) {
				err = PTR_ERR(folio);
				break;
			}
			batch.folios[batch.count++] = folio;
			luo_memfd_advance(&ahead, 1ULL << ahead.order);
			while (!ahead.pages && ++next < count)
				ahead = runs[next];
			if (!ahead.pages)
				break;
		}
		if (!batch.count)
			break;
		stop = luo_memfd_insert_batch(inode, &batch, gfp, &stored);
		if (stop)
			err = stop;
		for (done = (u64)stored << batch.order; done;) {
			u64 here = min(done, runs[at].pages);

			luo_memfd_advance(&runs[at], here);
			done -= here;
			if (!runs[at].pages)
				at++;
		}
		cond_resched();
	}
	return err;
}

/*
 * The order that pages are joined to which follow each other both in the file and in
 * memory; 0 for none.
 */
u32 luo_memfd_join_order(void)
{
	return IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ? HPAGE_PMD_ORDER : 0;
}

/* Frees pages that came back; huge ones take the place that their pool has left for them. */
void luo_memfd_drop(const struct luo_memfd_run *run, bool huge)
{
	u64 i = 0;

	while (huge && i < run->pages) {
		if (!luo_hugetlb_give(luo_memfd_compound(run->frame + i, run->order)))
			break;
		i += 1ULL << run->order;
		cond_resched();
	}
	while (i < run->pages) {
		struct folio *folio = page_folio(pfn_to_page(run->frame + i));

		i += folio_nr_pages(folio);
		folio_put(folio);
		cond_resched();
	}
}
