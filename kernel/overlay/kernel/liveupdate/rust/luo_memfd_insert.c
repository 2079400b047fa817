// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages of a file in the new kernel: got back from Kexec HandOver, joined to large folios and
 * put into the page cache by batches, or given to the allocator. For whom, and in which order, is
 * decided in handlers/memfd/half.rs.
 */
#include <linux/fs.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate_files.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/xarray.h>

#include "../../../mm/internal.h"
#include "luo_guest_mm.h"
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

	if (step == run->pages)
		return kho_take_pages(PFN_PHYS(run->frame), step);
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

/* Folios that are put into a file together: at most so many. */
#define LUO_MEMFD_BATCH 64

/* Folios in the order of the file, each with its place in it. */
struct luo_memfd_batch {
	struct folio *folios[LUO_MEMFD_BATCH];
	unsigned int count;
};

/* Makes a folio of pages that came back ready for the page cache. */
static struct folio *luo_memfd_ready(struct address_space *mapping,
				     const struct luo_memfd_run *run)
{
	struct folio *folio = luo_memfd_folio(run->frame, run->order);

	__folio_set_locked(folio);
	__folio_set_swapbacked(folio);
	folio->mapping = mapping;
	folio->index = run->index;
	if (run->state == LUO_MEMFD_FRESH)
		folio_clear_uptodate(folio);
	else
		__folio_mark_uptodate(folio);
	folio_set_dirty(folio);
	return folio;
}

/* Undoes what is done to folios before they are in the page cache. */
static void luo_memfd_undo(const struct luo_memfd_batch *batch, unsigned int from)
{
	unsigned int i;

	for (i = from; i < batch->count; i++) {
		struct folio *folio = batch->folios[i];

		mem_cgroup_uncharge(folio);
		folio->mapping = NULL;
		folio_clear_swapbacked(folio);
		__folio_clear_locked(folio);
	}
}

/* Charges who pays for all of a batch, those of one node in one go. */
static int luo_memfd_charge_batch(struct luo_memfd_batch *batch, gfp_t gfp)
{
	unsigned int from = 0;
	int err = 0;

	while (from < batch->count && !err) {
		int node = folio_nid(batch->folios[from]);
		unsigned int to = from + 1;

		while (to < batch->count && folio_nid(batch->folios[to]) == node)
			to++;
		err = luo_memcg_charge(&batch->folios[from], to - from, gfp);
		from = to;
	}
	return err;
}

/*
 * Goes to the place of a folio, which is behind that of the last: within a node of the page cache
 * without a walk from its root.
 */
static void luo_memfd_go_to(struct xa_state *xas, pgoff_t index, unsigned int order)
{
	struct xa_node *node = xas->xa_node;

	if (xas_not_node(node) || node->shift || order >= XA_CHUNK_SHIFT ||
	    (xas->xa_index ^ index) >> XA_CHUNK_SHIFT) {
		xas_set_order(xas, index, order);
		return;
	}
	xas->xa_index = index;
	xas->xa_offset = index & XA_CHUNK_MASK;
	xas->xa_shift = 0;
	xas->xa_sibs = (1U << order) - 1;
}

/*
 * Puts the folios of a batch into the page cache; how many is in *stored. What the file has is
 * what came before in its order, and a reader has seen that no two runs are at one place: so it is
 * not looked for what might be there.
 */
static int luo_memfd_store(struct address_space *mapping,
			   const struct luo_memfd_batch *batch, gfp_t gfp,
			   unsigned int *stored)
{
	XA_STATE(xas, &mapping->i_pages, 0);
	unsigned long pages;

	*stored = 0;
	do {
		pages = 0;
		xas_lock_irq(&xas);
		xas_set(&xas, batch->folios[*stored]->index);
		while (*stored < batch->count) {
			struct folio *folio = batch->folios[*stored];
			void *before;

			luo_memfd_go_to(&xas, folio->index, folio_order(folio));
			before = xas_store(&xas, folio);
			if (xas_error(&xas))
				break;
			VM_WARN_ON_ONCE(before);
			pages += folio_nr_pages(folio);
			++*stored;
		}
		mapping->nrpages += pages;
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
		long pages = 0, huge = 0;

		for (; from < stored && luo_memfd_alike(folio, batch->folios[from]); from++) {
			long more = folio_nr_pages(batch->folios[from]);

			pages += more;
			if (folio_test_pmd_mappable(batch->folios[from]))
				huge += more;
		}
		lruvec_stat_mod_folio(folio, NR_FILE_PAGES, pages);
		lruvec_stat_mod_folio(folio, NR_SHMEM, pages);
		if (huge)
			lruvec_stat_mod_folio(folio, NR_SHMEM_THPS, huge);
	}
}

/* Pages that have come onto one list of reclaim, and are not counted there yet. */
struct luo_memfd_listed {
	struct lruvec *lruvec;
	enum lru_list lru;
	enum zone_type zone;
	long pages;
};

/* Counts them; there is the list's lock. */
static void luo_memfd_count_listed(struct luo_memfd_listed *listed)
{
	if (listed->pages)
		update_lru_size(listed->lruvec, listed->lru, listed->zone, listed->pages);
	listed->pages = 0;
}

/* Puts a folio onto the list of reclaim where it belongs, of which there is the lock. */
static void luo_memfd_list(struct luo_memfd_listed *listed, struct lruvec *lruvec,
			   struct folio *folio)
{
	enum zone_type zone = folio_zonenum(folio);
	enum lru_list lru = folio_lru_list(folio);

	/* Generations have counts of their own. */
	if (lru_gen_enabled()) {
		lruvec_add_folio(lruvec, folio);
		return;
	}
	if (lruvec != listed->lruvec || lru != listed->lru || zone != listed->zone) {
		luo_memfd_count_listed(listed);
		*listed = (struct luo_memfd_listed){ lruvec, lru, zone };
	}
	list_add(&folio->lru, &lruvec->lists[lru]);
	listed->pages += folio_nr_pages(folio);
}

/*
 * Puts folios that are in the page cache now where reclaim finds them, those of one list with
 * its lock once. Nobody has made the file's memory unevictable.
 */
static void luo_memfd_add_to_lru(const struct luo_memfd_batch *batch,
				 unsigned int stored)
{
	struct luo_memfd_listed listed = {};
	struct lruvec *lruvec = NULL;
	unsigned int i;

	for (i = 0; i < stored; i++) {
		struct folio *folio = batch->folios[i];

		if (lruvec && !folio_matches_lruvec(folio, lruvec)) {
			luo_memfd_count_listed(&listed);
			lruvec_unlock_irq(lruvec);
			lruvec = NULL;
		}
		if (!lruvec)
			lruvec = folio_lruvec_lock_irq(folio);
		luo_memfd_list(&listed, lruvec, folio);
		folio_set_lru(folio);
	}
	if (lruvec) {
		luo_memfd_count_listed(&listed);
		lruvec_unlock_irq(lruvec);
	}
}

/*
 * Puts a batch into the file; how many of its folios are in it is in *stored. Who is charged for
 * it has room for all of it, or is charged for nothing.
 */
static int luo_memfd_insert_batch(struct inode *inode,
				  struct luo_memfd_batch *batch, gfp_t gfp,
				  unsigned int *stored)
{
	int err = luo_memfd_charge_batch(batch, gfp);
	unsigned int i;

	*stored = 0;
	if (!err)
		err = luo_memfd_store(inode->i_mapping, batch,
				      gfp & GFP_RECLAIM_MASK, stored);
	luo_memfd_count(batch, *stored);
	/* The reference that a folio came with is the page cache's now. */
	for (i = 0; i < *stored; i++) {
		long more = folio_nr_pages(batch->folios[i]) - 1;

		if (more)
			folio_ref_add(batch->folios[i], more);
	}
	luo_memfd_add_to_lru(batch, *stored);
	luo_memfd_undo(batch, *stored);
	/* From here on they may be anybody's. */
	for (i = 0; i < *stored; i++)
		folio_unlock(batch->folios[i]);
	return err;
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
	if (!shmem_file(file))
		return luo_guest_insert(file, runs, count, gfp);
	while (!err && at < count) {
		struct luo_memfd_run ahead = {};
		unsigned int stored;
		size_t next = at;

		batch.count = 0;
		while (batch.count < ARRAY_SIZE(batch.folios)) {
			/* All of a run may be in the file, from an earlier try. */
			while (!ahead.pages && next < count)
				ahead = runs[next++];
			if (!ahead.pages)
				break;
			batch.folios[batch.count++] = luo_memfd_ready(inode->i_mapping, &ahead);
			luo_memfd_advance(&ahead, 1ULL << ahead.order);
		}
		if (!batch.count)
			break;
		err = luo_memfd_insert_batch(inode, &batch, gfp, &stored);
		while (stored) {
			if (runs[at].pages) {
				luo_memfd_advance(&runs[at], 1ULL << runs[at].order);
				stored--;
			} else {
				at++;
			}
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
